// The stories that the documentation tells: which sections are typed on which boxes, and what they take for granted. Read by
// commands.test.ts.

export interface Story {
  page: string;
  /** Those whose commands it types; all, when there are none. */
  sections?: string[];
  /** Name and address of each; the first is meant where a block has no prompts. */
  boxes: Record<string, string>;
  /** Boxes with a Docker Engine. */
  docker?: string[];
  /** What a section takes for granted, or what happens outside of it: box and command. */
  before?: Record<string, [box: string, command: string][]>;
}

const three = { box1: '192.0.2.1', box2: '192.0.2.2', box3: '192.0.2.3' };
const application = (name: string, microservices: string[], more = ''): string =>
  `apiVersion: selvedge/v1\nkind: Application\nmetadata: { name: ${name} }\nspec:\n  microservices:\n${microservices
    .map((one) => `    - { name: ${one}, engine: process, command: [sleep, infinity]${more} }\n`)
    .join('')}`;
const write = (file: string, text: string): string => `cat > ${file} <<'END'\n${text}END`;
const hello = write(
  'hello.yaml',
  application('hello', ['greeter', 'visitor'], ', ports: [{ name: http, port: 8080 }]'),
);

/** A fabric that box1 founded, with an application. */
const plant = (...others: string[]): [string, string][] => [
  ['box1', 'selvedge up --found --fabric plant --detach'],
  ['box1', `selvedge token create --uses ${others.length} > token`],
  ...others.flatMap((box): [string, string][] => [
    ['box1', `scp token ${box}:`],
    [box, 'selvedge up --token-file token --detach'],
  ]),
  ['box1', hello],
  ['box1', 'selvedge apply hello.yaml'],
  ['box1', 'selvedge wait hello'],
];
const founded: [string, string][] = [['control', 'selvedge up --found --fabric plant --detach']];
const joining = { control: '192.0.2.1', press: '192.0.2.9' };

export const stories: readonly Story[] = [
  { page: 'docs/quickstart.md', boxes: three, docker: ['box3'] },
  { page: 'README.md', sections: ['On real boxes'], boxes: three },
  { page: 'docs/joining.md', sections: ['Approval by code'], boxes: joining, before: { 'Approval by code': founded } },
  { page: 'docs/joining.md', sections: ['Token'], boxes: joining, before: { Token: founded } },
  { page: 'docs/joining.md', sections: ['Open window'], boxes: joining, before: { 'Open window': founded } },
  {
    page: 'docs/joining.md',
    sections: ['Another network'],
    boxes: { control: '192.0.2.1', far: '198.51.100.7' },
    before: { 'Another network': founded },
  },
  {
    page: 'docs/joining.md',
    sections: ['How a box leaves'],
    boxes: { ...joining, other: '192.0.2.10' },
    before: {
      'How a box leaves': [
        ...founded,
        ['control', 'selvedge token create --uses 2 --label hall=2 > token'],
        ['control', 'scp token press:'],
        ['control', 'scp token other:'],
        ['press', 'selvedge up --token-file token --name press-4 --detach'],
        ['other', 'selvedge up --token-file token --name press-5 --detach'],
        ['control', write('work.yaml', application('work', ['web'], ', placement: { labels: { hall: "2" } }'))],
        ['control', 'selvedge apply work.yaml'],
        ['control', 'selvedge wait work'],
      ],
    },
  },
  {
    page: 'docs/operations.md',
    sections: ['Look', 'The mesh', 'Disk, descriptors, and a file for who helps', 'Back up', 'Restore a controller'],
    boxes: { ...three, box4: '192.0.2.4' },
    before: {
      Look: plant('box2', 'box3'),
      'Restore a controller': [
        // What the backup does not know: another start of the controller, and another generation.
        ['box1', 'selvedge down; selvedge up --detach'],
        ['box1', 'sed -i "s/infinity/1d/" hello.yaml; selvedge apply hello.yaml; selvedge wait hello'],
        // And what no node runs yet.
        ['box1', 'sed -i "s/1d/2d/" hello.yaml'],
        ['box1', 'scp plant.tgz box4:'],
        ['box1', 'scp hello.yaml box4:'],
        ['box1', 'selvedge down --workloads; rm -r /var/lib/selvedge'],
      ],
    },
  },
  {
    page: 'docs/operations.md',
    sections: ['Upgrade', 'Remove a box'],
    boxes: three,
    before: { Upgrade: plant('box2', 'box3') },
  },
  {
    page: 'docs/troubleshooting.md',
    boxes: { box1: '192.0.2.1' },
    before: { '': [['box1', 'selvedge up --found --detach']] },
  },
  {
    page: 'docs/hardware.md',
    boxes: { box1: '192.0.2.1', box2: '192.0.2.2' },
    before: { 'See it': [['box1', 'selvedge up --found --detach']] },
  },
  {
    page: 'docs/wasm.md',
    boxes: { box1: '192.0.2.1', box2: '192.0.2.2' },
    before: {
      Functions: [
        ['box1', 'selvedge up --found --detach'],
        ['box1', 'selvedge token create > token'],
        ['box1', 'scp token box2:'],
        ['box2', 'selvedge up --token-file token --detach'],
      ],
    },
  },
  {
    page: 'docs/gateways.md',
    boxes: { box1: '192.0.2.1', box2: '192.0.2.2', laptop: '192.0.2.9' },
    before: {
      'Publish a service': [
        ['box1', 'selvedge up --found --detach'],
        ['box1', 'selvedge token create > token'],
        ['box1', 'scp token box2:'],
        ['box2', 'selvedge up --token-file token --detach'],
      ],
    },
  },
  {
    page: 'docs/manifest.md',
    boxes: { box1: '192.0.2.1' },
    before: { '': [['box1', 'selvedge up --found --detach']] },
  },
  {
    page: 'docs/install.md',
    sections: ['The program', 'As a service'],
    boxes: { box1: '192.0.2.1', box2: '192.0.2.2' },
  },
  {
    page: 'docs/install.md',
    sections: ['What a box keeps of its options'],
    boxes: { box1: '192.0.2.1' },
    before: {
      'What a box keeps of its options': [
        ['box1', 'selvedge up --found --name box1 --process-user daemon --allow privileged --detach'],
        ['box1', 'selvedge down'],
      ],
    },
  },
];
