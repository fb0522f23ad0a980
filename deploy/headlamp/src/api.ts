// What to ask KubeHealer about an object, and what its answers mean. Pure: no request and no component.

export interface Settings {
  /** Namespace and name of KubeHealer's Service, and its port. */
  namespace: string;
  service: string;
  port: string;
  /** Address of the status page, to which incidents link; no links if empty. */
  statusPage: string;
}

/** What the chart installs, and the status page as its notes open it. */
export const DEFAULTS: Settings = {
  namespace: 'kubehealer',
  service: 'kubehealer',
  port: '8080',
  statusPage: 'http://localhost:8080',
};

/** The part of an object of Kubernetes that is needed here. */
export interface KubeResource {
  kind: string;
  metadata: {
    name: string;
    namespace?: string;
    ownerReferences?: { kind: string; name: string; controller?: boolean }[];
  };
}

/** Which incidents belong to an object: those of one pod, or those of a workload and its pods. */
export interface Target {
  namespace: string;
  pod?: string;
  workload?: { kind: string; name: string };
  /** Only those of this part of it: a ReplicaSet of a Deployment, a Job of a CronJob. */
  part?: string;
}

/** Incidents with one sentence: what is wrong, and with which pods. */
export interface Row {
  id: string;
  severity: 'critical' | 'warning' | 'info';
  reason: string;
  summary: string;
  since?: string;
  mutedUntil?: string;
  pods: string[];
  nextSteps: string[];
}

export interface View {
  rows: Row[];
  /** What the reader must know of the answer as a whole. */
  notes: string[];
}

/** Incidents in one answer, and rows that are shown of them. */
export const ASKED = 100;
export const SHOWN = 10;
/** Bytes of a search at most, by the API. */
const MAX_SEARCH = 200;

const WORKLOADS = ['Deployment', 'StatefulSet', 'DaemonSet', 'ReplicaSet', 'Job', 'CronJob'];

/** The settings in force: what is stored, and the defaults for what is missing. */
export function settingsOf(stored: Partial<Settings> | undefined): Settings {
  const { namespace, service, port, statusPage } = stored ?? {};
  return {
    namespace: namespace?.trim() || DEFAULTS.namespace,
    service: service?.trim() || DEFAULTS.service,
    port: port?.trim() || DEFAULTS.port,
    statusPage: statusPage?.trim() ?? DEFAULTS.statusPage,
  };
}

/** Undefined for kinds that KubeHealer does not watch. */
export function targetOf({ kind, metadata }: KubeResource): Target | undefined {
  const { name, namespace = '', ownerReferences = [] } = metadata;
  if (kind === 'Pod') {
    return { namespace, pod: name };
  }
  if (!WORKLOADS.includes(kind)) {
    return undefined;
  }
  // To KubeHealer, pods of a ReplicaSet or Job belong to its owner. What owns a Deployment does not matter.
  const owner = ['ReplicaSet', 'Job'].includes(kind) && ownerReferences.find(o => o.controller);
  return owner
    ? { namespace, workload: { kind: owner.kind, name: owner.name }, part: name }
    : { namespace, workload: { kind, name } };
}

/** The path of the question, at the API server. */
export function pathOf(settings: Settings, { namespace, pod, workload, part }: Target): string {
  const words = [pod, workload && `${workload.kind}/${workload.name}`, part];
  const q = words.filter(Boolean).join(' ').slice(0, MAX_SEARCH);
  const query = new URLSearchParams({ namespace, q, limit: String(ASKED) });
  const [ns, service, port] = [settings.namespace, settings.service, settings.port].map(
    encodeURIComponent
  );
  return `/api/v1/namespaces/${ns}/services/http:${service}:${port}/proxy/api/v1/incidents?${query}`;
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '');
const time = (value: unknown) => (Number.isNaN(Date.parse(text(value))) ? undefined : text(value));

/** The API searches for parts of names; here they must be equal. */
function belongs(item: any, { namespace, pod, workload, part }: Target): boolean {
  if (text(item?.namespace) !== namespace) {
    return false;
  }
  if (!workload) {
    return item.pod === pod;
  }
  if (item.workload?.kind !== workload.kind || item.workload?.name !== workload.name) {
    return false;
  }
  // What is said of the owner as a whole belongs to its part if it names the part.
  const names = () => text(item.summary).split(/[^a-z0-9.-]+/);
  return !part || (item.pod ? text(item.pod).startsWith(`${part}-`) : names().includes(part));
}

/** What an answer says of an object. Nothing of an answer is trusted to be there. */
export function viewOf(answer: any, target: Target): View {
  if (answer?.kind !== 'IncidentList' || !Array.isArray(answer.items)) {
    return {
      rows: [],
      notes: ['The Service does not answer as KubeHealer does: check the plugin settings.'],
    };
  }
  const rows = new Map<string, Row>();
  for (const item of answer.items.filter((item: any) => belongs(item, target))) {
    const severity = ['critical', 'warning'].includes(item.severity) ? item.severity : 'info';
    const [reason, summary, pod] = [text(item.reason), text(item.summary), text(item.pod)];
    const key = JSON.stringify([severity, reason, summary]);
    const row: Row = rows.get(key) ?? {
      id: text(item.id),
      severity,
      reason,
      summary,
      since: time(item.since),
      mutedUntil: time(item.muted?.until),
      pods: [],
      nextSteps: Array.isArray(item.nextSteps) ? item.nextSteps.map(text).filter(Boolean) : [],
    };
    if (pod && !row.pods.includes(pod)) {
      row.pods.push(pod);
    }
    const since = time(item.since);
    if (since && !(row.since && Date.parse(row.since) <= Date.parse(since))) {
      row.since = since;
    }
    rows.set(key, row);
  }
  const all = [...rows.values()];
  const notes = [];
  if (answer.continue) {
    notes.push('More incidents match this name: the status page has all of them.');
  } else if (all.length > SHOWN) {
    notes.push(`${all.length - SHOWN} more: the status page has all of them.`);
  }
  if (answer.notReady) {
    notes.push(`This may be old or incomplete: ${text(answer.notReady)}.`);
  }
  if (answer.scope) {
    const rest = text(answer.others) && `; ${answer.others} watch the rest`;
    notes.push(`This instance of KubeHealer watches only pods with ${text(answer.scope)}${rest}.`);
  }
  return { rows: all.slice(0, SHOWN), notes };
}

/** Why there is no answer, and what to do. */
export function troubleOf(error: unknown, { namespace, service, port }: Settings): string {
  const { status, message } = (error ?? {}) as { status?: number; message?: string };
  const name = `Service ${service} in namespace ${namespace}`;
  switch (status) {
    case 401:
      return `KubeHealer was not read: the login is not accepted (401). With secureServing it cannot be read through the API server, which passes no tokens on.`;
    case 403:
      return `You may not read KubeHealer: a Role in namespace ${namespace} must allow you to get services/proxy of http:${service}:${port}.`;
    case 404:
      return `KubeHealer was not found: there is no ${name}. The plugin settings say where it is.`;
    case 421:
      return `KubeHealer does not know the host name of the API server: add it to allowedHosts of KubeHealer's chart.`;
    default:
      // Headlamp adds the message of a Status of the API server, or "undefined".
      return `KubeHealer cannot be reached (${name}): ${
        text(message).replace(/ - undefined$/, '') || 'no answer'
      }.`;
  }
}

/** The address of an incident on the status page. Only http and https: a link must not run a script. */
export function addressOf(statusPage: string, id: string): string | undefined {
  if (!id || !/^https?:\/\/[^/]/i.test(statusPage)) {
    return undefined;
  }
  return `${statusPage.replace(/\/+$/, '')}/incidents/${encodeURIComponent(id)}`;
}

/** Whether a next step is a command, and no sentence. */
export function isCommand(step: string): boolean {
  return /^(kubectl|kubehealer) /.test(step);
}
