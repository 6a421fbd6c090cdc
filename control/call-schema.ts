// The form of calls between applications: what a microservice declares that it calls, and what a Policy allows. Called by
// manifest-schema.ts and, for stored documents, by documents.ts; checkPolicy by manifest.ts. Pure.

import { z } from 'zod';
import { callsMax, policyPortsMax, policyRulesMax } from './limits.ts';
import type { FieldIssue } from './manifest-issues.ts';
import { dnsLabelForm, dnsLabelPattern } from './names.ts';
import { protocolField, storedProtocol } from './ports.ts';

const label = z.string().regex(dnsLabelPattern).describe(dnsLabelForm);
const port = z.int().min(1).max(65_535).describe('a whole number from 1 to 65535');

export const declaredCall = z
  .strictObject({ project: label.exactOptional(), application: label, microservice: label, port })
  .describe('{application: store, microservice: stock, port: 8080}');

/** As stored. */
export const storedCall = declaredCall.extend({ protocol: storedProtocol });

export const declaredCalls = z
  .array(declaredCall.extend({ protocol: protocolField }).describe(declaredCall.description ?? ''))
  .max(callsMax)
  .describe('a list: [{application: store, microservice: stock, port: 8080}]');

const to = z
  .strictObject({
    application: label,
    microservice: label.exactOptional(),
    ports: z
      .array(port)
      .min(1)
      .max(policyPortsMax)
      .describe(`a list of 1 to ${policyPortsMax} ports: [8080]`)
      .exactOptional(),
  })
  .describe('{application: store}, with microservice and ports as wanted');

/** As stored: with the project of the caller. */
export const callRules = z
  .array(
    z.strictObject({
      from: z.strictObject({ project: label, application: label, microservice: label.exactOptional() }),
      to,
    }),
  )
  .max(policyRulesMax);

const ruleForm = '{from: {application: shop}, to: {application: store}}';

export const policySpec = z
  .strictObject({
    allow: z
      .array(
        z
          .strictObject({
            from: z
              .strictObject({
                project: label.exactOptional(),
                application: label,
                microservice: label.exactOptional(),
              })
              .describe('{application: shop}, with project and microservice as wanted'),
            to,
          })
          .describe(ruleForm),
      )
      .min(1)
      .max(policyRulesMax)
      .describe(`a list of 1 to ${policyRulesMax} rules: [${ruleForm}]`),
  })
  .describe(`{allow: [${ruleForm}]}`);

/** What concerns more than one field. */
export function checkPolicy(project: string, { allow }: z.infer<typeof policySpec>): FieldIssue[] {
  return allow.flatMap(({ from, to: { application } }, index) => {
    if ((from.project ?? project) !== project || from.application !== application) return [];
    const reason = 'is the calling application: calls within one application are always allowed';
    return [{ path: ['spec', 'allow', index, 'to', 'application'], reason, accepted: 'another application' }];
  });
}
