// @vitest-environment node
import {
  addressOf,
  ASKED,
  DEFAULTS,
  isCommand,
  pathOf,
  settingsOf,
  SHOWN,
  targetOf,
  troubleOf,
  viewOf,
} from './api';
import { RECORDED, recorded } from './recorded';

const CART = targetOf(RECORDED.deployment)!;
const owned = (kind: string, name: string, owner: { kind: string; name: string }) => ({
  kind,
  metadata: { name, namespace: 'shop', ownerReferences: [{ ...owner, controller: true }] },
});

describe('settings', () => {
  test('what is missing or empty is what the chart installs', () => {
    expect(settingsOf(undefined)).toEqual(DEFAULTS);
    expect(settingsOf({ namespace: ' ', port: '' })).toEqual(DEFAULTS);
    const own = {
      namespace: 'monitoring',
      service: 'kh',
      port: '80',
      statusPage: 'https://kh.example.com',
    };
    expect(settingsOf(own)).toEqual(own);
  });

  test('an empty address of the status page is kept: it means no links', () => {
    expect(settingsOf({ statusPage: '' }).statusPage).toBe('');
  });
});

describe('the question', () => {
  test('is asked of pods and workloads only', () => {
    const kinds = ['Pod', 'Deployment', 'StatefulSet', 'DaemonSet', 'ReplicaSet', 'Job', 'CronJob'];
    for (const kind of [...kinds, 'Node', 'Service', 'ConfigMap']) {
      const target = targetOf({ kind, metadata: { name: 'a', namespace: 'b' } });
      expect(target !== undefined, kind).toBe(kinds.includes(kind));
    }
  });

  test('goes through the service proxy and is bounded', () => {
    expect(pathOf(DEFAULTS, CART)).toBe(
      `/api/v1/namespaces/kubehealer/services/http:kubehealer:8080/proxy/api/v1/incidents?namespace=shop&q=Deployment%2Fcart&limit=${ASKED}`
    );
  });

  test('names its words as the API allows: no special characters, at most 200 bytes', () => {
    const path = pathOf(
      { ...DEFAULTS, namespace: 'a/b?c', service: '../x' },
      { namespace: 'a&limit=9', pod: 'p'.repeat(253) }
    );
    const url = new URL(path, 'http://localhost');
    expect(url.pathname).toBe(
      '/api/v1/namespaces/a%2Fb%3Fc/services/http:..%2Fx:8080/proxy/api/v1/incidents'
    );
    expect(url.searchParams.get('namespace')).toBe('a&limit=9');
    expect(url.searchParams.get('q')).toHaveLength(200);
    expect(url.searchParams.getAll('limit')).toEqual([String(ASKED)]);
  });

  test('about a ReplicaSet or Job asks for incidents of its owner that name it', () => {
    const target = targetOf(owned('ReplicaSet', 'cart-2flq', { kind: 'Deployment', name: 'cart' }));
    expect(target).toEqual({ ...CART, part: 'cart-2flq' });
    expect(pathOf(DEFAULTS, target!)).toContain('q=Deployment%2Fcart+cart-2flq&');
  });

  test('about a workload of an operator is about the workload: its owner has no pods of its own', () => {
    const kafka = { kind: 'Kafka', name: 'events' };
    for (const kind of ['Deployment', 'StatefulSet', 'DaemonSet']) {
      const target = targetOf(owned(kind, 'broker', kafka));
      expect(target).toEqual({ namespace: 'shop', workload: { kind, name: 'broker' } });
    }
  });
});

describe('the answer', () => {
  test('is one row for a sentence that holds of several pods', () => {
    const answer = recorded('deployment');
    const said = answer.items.find((item: any) => item.reason === 'CrashLoopBackOff');
    const { rows, notes } = viewOf(answer, CART);
    expect(notes).toEqual([]);
    const crashing = rows.filter(row => row.reason === 'CrashLoopBackOff');
    expect(crashing).toHaveLength(1);
    expect(crashing[0]).toMatchObject({
      severity: 'warning',
      summary: said.summary,
      nextSteps: said.nextSteps,
    });
    expect(crashing[0].pods).toHaveLength(2);
    expect(crashing[0].id).toMatch(/^[0-9a-f]{16}$/);
    expect(said.summary).toContain('redis.shop.svc');
    expect(Date.parse(crashing[0].since!)).toBeGreaterThan(0);
  });

  test('about a pod is of this pod alone', () => {
    const answer = recorded('deployment');
    const pod: string = answer.items.find((item: any) => item.pod).pod;
    const target = targetOf({ kind: 'Pod', metadata: { name: pod, namespace: 'shop' } })!;
    const { rows } = viewOf(answer, target);
    expect(rows.map(row => row.pods)).toEqual([[pod]]);
    expect(viewOf(answer, { ...target, namespace: 'other' }).rows).toEqual([]);
  });

  test('about a ReplicaSet leaves out pods of another revision and what is said of the Deployment', () => {
    const answer = recorded('deployment');
    const revision = answer.items.find((item: any) => item.pod).pod.replace(/-[^-]+$/, '');
    const rows = (name: string) =>
      viewOf(answer, targetOf(owned('ReplicaSet', name, { kind: 'Deployment', name: 'cart' }))!)
        .rows;
    expect(rows(revision).flatMap(row => row.pods)).toHaveLength(2);
    expect(rows('cart-other')).toEqual([]);
  });

  test('about a ReplicaSet has what is said of the rollout, if it names the ReplicaSet', () => {
    const answer = recorded('rollout');
    const set = answer.items.find((item: any) => item.pod).pod.replace(/-[^-]+$/, '');
    const reasons = (name: string) =>
      viewOf(answer, {
        namespace: 'ml',
        workload: { kind: 'Deployment', name: 'llm' },
        part: name,
      }).rows.map(row => row.reason);
    expect(reasons(set)).toEqual(['ProgressDeadlineExceeded', 'Unschedulable']);
    expect(reasons(set.slice(0, -1))).toEqual([]);
  });

  test('about a Job has what is said of the Job and of its pods', () => {
    const { rows } = viewOf(recorded('job'), targetOf(RECORDED.job)!);
    expect(rows[0]).toMatchObject({ reason: 'BackoffLimitExceeded', pods: [] });
    expect(new Set(rows.slice(1).map(row => row.reason))).toEqual(new Set(['Error']));
    expect(rows.slice(1).flatMap(row => row.pods).length).toBeGreaterThan(1);
  });

  test('about a healthy workload is empty', () => {
    const view = viewOf(recorded('healthy'), targetOf(RECORDED.healthy)!);
    expect(view).toEqual({ rows: [], notes: [] });
  });

  const incident = (more: object) => ({ ...CART, reason: 'R', summary: 's', ...more });
  const list = (items: unknown[], more = {}) => ({ kind: 'IncidentList', items, ...more });

  test('leaves out objects whose names only begin alike', () => {
    const alike = [
      incident({ workload: { kind: 'Deployment', name: 'cart-two' } }),
      incident({ workload: { kind: 'StatefulSet', name: 'cart' } }),
      incident({ workload: undefined }),
    ];
    expect(viewOf(list(alike), CART).rows).toEqual([]);
  });

  test('begins when the oldest of its incidents began', () => {
    const since = ['soon', '2026-12-02T10:00:00Z', '2026-12-02T09:00:00.5Z', undefined];
    const { rows } = viewOf(list(since.map(since => incident({ since }))), CART);
    expect(rows.map(row => row.since)).toEqual(['2026-12-02T09:00:00.5Z']);
  });

  test('says what it does not show', () => {
    const many = Array.from({ length: SHOWN + 2 }, (_, i) => incident({ summary: `${i}` }));
    const { rows, notes } = viewOf(list(many), CART);
    expect(rows).toHaveLength(SHOWN);
    expect(notes).toEqual(['2 more: the status page has all of them.']);
    expect(viewOf(list([], { continue: 'x' }), CART).notes).toEqual([
      'More incidents match this name: the status page has all of them.',
    ]);
  });

  test('says that it is old, or covers a part of the pods', () => {
    expect(viewOf(list([], { notReady: 'the first list is not complete' }), CART).notes).toEqual([
      'This may be old or incomplete: the first list is not complete.',
    ]);
    expect(viewOf(list([], { scope: 'shard=0/2', others: '1 other shard' }), CART).notes).toEqual([
      'This instance of KubeHealer watches only pods with shard=0/2; 1 other shard watch the rest.',
    ]);
  });

  test('of anything else is no finding and no failure', () => {
    for (const answer of [undefined, null, 'x', {}, { kind: 'ServiceList', items: [] }]) {
      expect(viewOf(answer, CART).notes[0]).toMatch('does not answer as KubeHealer does');
    }
    const odd = [
      null,
      1,
      {},
      incident({ severity: {}, summary: [], nextSteps: [{}, 'a'], muted: 1 }),
    ];
    expect(viewOf(list(odd), CART).rows).toMatchObject([
      { severity: 'info', summary: '', nextSteps: ['a'] },
    ]);
  });
});

describe('no answer', () => {
  const said = (status?: number, message?: string) => troubleOf({ status, message }, DEFAULTS);

  test('names the right that is missing', () => {
    expect(said(403, 'Forbidden - services "http:kubehealer:8080" is forbidden')).toBe(
      'You may not read KubeHealer: a Role in namespace kubehealer must allow you to get services/proxy of http:kubehealer:8080.'
    );
  });

  test('says what to do where something is known', () => {
    expect(said(401)).toContain('secureServing');
    expect(said(404)).toContain('there is no Service kubehealer in namespace kubehealer');
    expect(said(421)).toContain('allowedHosts');
  });

  test('quotes the API server otherwise', () => {
    expect(
      said(503, 'Service Unavailable - no endpoints available for service "http:kubehealer:8080"')
    ).toBe(
      'KubeHealer cannot be reached (Service kubehealer in namespace kubehealer): Service Unavailable - no endpoints available for service "http:kubehealer:8080".'
    );
    expect(said(503, 'Service Unavailable - undefined')).toMatch(/: Service Unavailable\.$/);
    expect(troubleOf(undefined, DEFAULTS)).toMatch(/: no answer\.$/);
  });
});

test('an incident links to the status page, and never to a script', () => {
  expect(addressOf('http://localhost:8080', 'ab')).toBe('http://localhost:8080/incidents/ab');
  expect(addressOf('https://a.example/kh//', '../x')).toBe('https://a.example/kh/incidents/..%2Fx');
  for (const page of ['', 'javascript:alert(1)', 'localhost:8080', 'data:text/html,x', 'http://']) {
    expect(addressOf(page, 'ab'), page).toBeUndefined();
  }
  expect(addressOf('http://localhost:8080', '')).toBeUndefined();
});

test('commands are told from sentences', () => {
  expect(isCommand('kubectl -n shop get service redis')).toBe(true);
  expect(isCommand('kubehealer explain OOMKilled')).toBe(true);
  expect(isCommand('if the Service exists: check the cluster DNS')).toBe(false);
});
