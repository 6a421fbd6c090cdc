// The errors of this folder, one class per cause. Each says whether a retry can help and what the operator should do.
// No message ever holds a secret, a private key or a token.

export type CertificateFault =
  | 'malformed'
  | 'too-large'
  | 'chain-length'
  | 'algorithm'
  | 'not-issued'
  | 'bad-signature'
  | 'foreign-root'
  | 'not-yet-valid'
  | 'expired'
  | 'lifetime'
  | 'not-an-authority'
  | 'path-length'
  | 'profile'
  | 'name-constraints'
  | 'names'
  | 'stale-issue-number'
  | 'revoked'
  | 'wrong-peer'
  | 'wrong-kind';

/** A certificate or chain that is not accepted; `reason` says which rule it breaks. */
export class CertificateError extends Error {
  override readonly name = 'CertificateError';
  readonly id = 'certificate-refused';
  readonly retryable = false;
  readonly action =
    'Compare the clocks of both nodes, and see `selvedge doctor` on the node that presented it; a revoked node must join again.';
  readonly reason: CertificateFault;
  constructor(reason: CertificateFault, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** Something that we were asked to certify is not valid input. */
export class CertificateRequestError extends Error {
  override readonly name = 'CertificateRequestError';
  readonly id = 'certificate-request-refused';
  readonly retryable = false;
  readonly action = 'Send a PKCS#10 request, signed with its own P-256 or Ed25519 key.';
}

/** A name that is no fabric id, DNS label or SPIFFE ID of ours. */
export class NameError extends Error {
  override readonly name = 'NameError';
  readonly id = 'name-refused';
  readonly retryable = false;
  readonly action = 'Use lower-case letters, digits and hyphens, 63 characters at most, no hyphen at either end.';
}

/** A key or peer id in a form that is not ours. */
export class KeyFormatError extends Error {
  override readonly name = 'KeyFormatError';
  readonly id = 'key-refused';
  readonly retryable = false;
  readonly action = 'Keys are P-256 or Ed25519; peer ids are those of Ed25519 keys (12D3KooW…).';
}

export type SignatureFault =
  | 'malformed'
  | 'too-large'
  | 'type'
  | 'algorithm'
  | 'certificate'
  | 'bad-signature'
  | 'payload';

/** A signed document that is not accepted. */
export class SignatureError extends Error {
  override readonly name = 'SignatureError';
  readonly id = 'signature-refused';
  readonly retryable = false;
  readonly action = 'Nothing to do when it is rare: the document is ignored. See `selvedge events` for who sent it.';
  readonly reason: SignatureFault;
  constructor(reason: SignatureFault, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** The text given as token is none. */
export class TokenFormatError extends Error {
  override readonly name = 'TokenFormatError';
  readonly id = 'token-format';
  readonly retryable = false;
  readonly action = 'Copy the whole line that `selvedge token create` printed; it begins with sv1_.';
}

/** A token was asked for that this fabric does not give. */
export class TokenRefusedError extends Error {
  override readonly name = 'TokenRefusedError';
  readonly id = 'token-refused';
  readonly retryable = false;
  readonly action =
    'Ask for 1 to 1000 uses and for a life between 1 minute and 7 days; wait until outstanding tokens expire.';
}

/** The file of a token is not as it was written: who used the token cannot be known. */
export class TokenFileError extends Error {
  override readonly name = 'TokenFileError';
  readonly id = 'token-file-damaged';
  readonly retryable = false;
  readonly action: string;

  constructor(path: string, reason: string) {
    super(`the file ${path} of the data folder is damaged: ${reason}`);
    this.action = `Move ${path} out of the data folder: that token admits nobody then. Create another one.`;
  }
}

/** The answerer belongs to another fabric than the token. */
export class ForeignFabricError extends Error {
  override readonly name = 'ForeignFabricError';
  readonly id = 'enrollment-foreign-fabric';
  readonly retryable = true;
  readonly action =
    'Nothing was sent. Wait for a controller of the right fabric, or use a token of the fabric that answered.';
}

/** The answerer could not prove that it is the fabric's controller which Noise authenticated. */
export class UntrustedAnswerError extends Error {
  override readonly name = 'UntrustedAnswerError';
  readonly id = 'enrollment-untrusted-answer';
  readonly retryable = true;
  readonly action =
    'No secret was sent. Somebody on this network may be posing as the fabric; if not, compare the clocks of both boxes.';
}

/** The fabric's controller gave a certificate that is not this box's. */
export class WrongAdmissionError extends Error {
  override readonly name = 'WrongAdmissionError';
  readonly id = 'enrollment-wrong-admission';
  readonly retryable = true;
  readonly action =
    'Compare the clocks of both boxes, and run the same version of Selvedge on both; nothing was installed.';
}

/** A member answered that holds no issuing authority. */
export class NotAControllerError extends Error {
  override readonly name = 'NotAControllerError';
  readonly id = 'enrollment-not-a-controller';
  readonly retryable = true;
  readonly action = 'Nothing was sent. Wait until a controller is found, or give its address with --join.';
}

/** The fabric answered no. */
export class EnrollmentRefusedError extends Error {
  override readonly name = 'EnrollmentRefusedError';
  readonly id = 'enrollment-refused';
  readonly retryable = false;
  readonly action =
    'See `selvedge events` on a controller for the reason; create a new token with `selvedge token create`.';
}

/** The fabric has too much to do, or this peer asked too often. */
export class EnrollmentBusyError extends Error {
  override readonly name = 'EnrollmentBusyError';
  readonly id = 'enrollment-busy';
  readonly retryable = true;
  readonly action = 'Nothing: it is tried again in a minute.';
}

/** The far end sent what the protocol does not have, or closed too early. */
export class EnrollmentProtocolError extends Error {
  override readonly name = 'EnrollmentProtocolError';
  readonly id = 'enrollment-protocol';
  readonly retryable = true;
  readonly action = 'Run the same version of Selvedge on both nodes.';
}

/** A step of the enrollment took too long. */
export class EnrollmentTimeoutError extends Error {
  override readonly name = 'EnrollmentTimeoutError';
  readonly id = 'enrollment-timeout';
  readonly retryable = true;
  readonly action = 'Nothing: it is tried again. When it stays so, look at the load of the controller and at the link.';
}

/** What was typed is no approval code. */
export class ApprovalCodeError extends Error {
  override readonly name = 'ApprovalCodeError';
  readonly id = 'approval-code-format';
  readonly retryable = false;
  readonly action = 'Type the code that the box shows, such as K7-ABCD-EFGH-JK; case, dashes and blanks do not matter.';
}

/** No box proved that it shows this code. */
export class ApprovalFailedError extends Error {
  override readonly name = 'ApprovalFailedError';
  readonly id = 'approval-failed';
  readonly retryable = false;
  readonly action =
    'Compare the code with the one that the box shows now (`selvedge status` there): it changes every hour and after use. `selvedge nodes pending` lists the boxes that wait.';
}

/** The box showed the code, but could not become a node as it was asked for. */
export class ApprovalRefusedError extends Error {
  override readonly name = 'ApprovalRefusedError';
  readonly id = 'approval-refused';
  readonly retryable = false;
  readonly action =
    'Correct what was refused, and approve again with the new code that the box shows now; --name gives it another name.';
}

/** Too many approvals run at the same time. */
export class ApprovalBusyError extends Error {
  override readonly name = 'ApprovalBusyError';
  readonly id = 'approval-busy';
  readonly retryable = true;
  readonly action = 'Wait until the other approvals have ended, and type the code again.';
}

/** Nobody who waits has that handle, name or peer id. */
export class NoSuchRequestError extends Error {
  override readonly name = 'NoSuchRequestError';
  readonly id = 'no-such-request';
  readonly retryable = false;
  readonly action = '`selvedge nodes pending` lists the boxes that wait.';
}

/** A window cannot be opened as it was asked for. */
export class WindowRefusedError extends Error {
  override readonly name = 'WindowRefusedError';
  readonly id = 'window-refused';
  readonly retryable = false;
  readonly action =
    'Give a time from 10 seconds to a day, 1 to 1000 boxes, and address ranges such as 192.0.2.0/24; close an open window first.';
}

/** An operator of the fabric denied this box. */
export class EnrollmentDeniedError extends Error {
  override readonly name = 'EnrollmentDeniedError';
  readonly id = 'enrollment-denied';
  readonly retryable = true;
  readonly action =
    'Ask the operator of that fabric. It is asked again in an hour; other fabrics can still approve this box.';
}
