// Which engines a node offers, by what it says of itself, and what placement makes of it.

import test from 'ava';
import type { MicroserviceSpec } from '../../control/fabric.ts';
import { offeredEngines } from '../../control/node-engines.ts';
import { place } from '../../control/placement.ts';
import { applicationRecord, microservice, nodeRecord } from './records.ts';

const gone = { name: 'docker', unavailable: 'there is no socket' };

test('an engine that comes is taken over, and one that goes stays with its reason', (t) => {
  const come = offeredEngines(nodeRecord('a'), [{ name: 'process' }, { name: 'docker' }]);
  t.deepEqual(come, { engines: ['process', 'docker'], unavailableEngines: {} });
  const away = offeredEngines({ engines: ['process', 'docker'] }, [{ name: 'process' }, gone]);
  t.deepEqual(away, { engines: ['process', 'docker'], unavailableEngines: { docker: 'there is no socket' } });
  const lost = offeredEngines({ engines: ['process', 'docker'] }, [{ name: 'process' }]);
  t.deepEqual(lost?.unavailableEngines, { docker: 'the node no longer has it' });
});

test('an engine that never answered is none, and the same said again changes nothing', (t) => {
  t.is(offeredEngines(nodeRecord('a'), [{ name: 'process' }, gone]), undefined);
  t.is(offeredEngines(nodeRecord('a'), undefined), undefined);
  const known = { engines: ['process', 'docker'], unavailableEngines: { docker: 'there is no socket' } };
  t.is(offeredEngines(known, [{ name: 'process' }, gone]), undefined);
});

test('what a node says of its engines is bounded and checked', (t) => {
  const odd = [
    null,
    7,
    { name: 'Not A Name' },
    { name: 'process' },
    { name: 'docker', unavailable: 'x'.repeat(9_999) },
  ];
  t.is(offeredEngines(nodeRecord('a'), odd), undefined);
  const next = offeredEngines({ engines: ['process', 'docker'] }, odd);
  t.is(next?.unavailableEngines['docker']?.length, 300);
  const many = Array.from({ length: 50 }, (_, index) => ({ name: `engine-${index}` }));
  t.is(offeredEngines(nodeRecord('a'), many)?.engines.length, 8);
});

test('an engine that is away keeps what it has and gets nothing new', (t) => {
  const { command: _, engine: __, ...rest } = microservice('web', { replicas: 2 });
  const spec: MicroserviceSpec = { ...rest, engine: 'docker', image: 'web' };
  const applications = [applicationRecord('app', [spec])];
  const with0 = place({ applications, nodes: [nodeRecord('a', { engines: ['process', 'docker'] })], previous: [] });
  t.deepEqual(Object.keys(with0[0]?.instances ?? {}), ['default.app.web.0', 'default.app.web.1']);
  const previous = [{ ...with0[0], instances: { 'default.app.web.0': { node: 'a' } } }] as typeof with0;
  const away = nodeRecord('a', { engines: ['process', 'docker'], unavailableEngines: { docker: 'no socket' } });
  const [record] = place({ applications, nodes: [away, nodeRecord('b')], previous });
  t.deepEqual(record?.instances, { 'default.app.web.0': { node: 'a' } });
  t.deepEqual(record?.unplaced['default.app.web.1'], {
    a: 'engine docker cannot be used: no socket',
    b: 'has no engine docker',
  });
});
