// Answers of `kubehealer demo`, written by record.ts.

import { readFileSync } from 'fs';

const of = (kind: string, namespace: string, name: string) => ({
  kind,
  metadata: { namespace, name },
});

/** About which objects of the demo there are answers. */
export const RECORDED = {
  deployment: of('Deployment', 'shop', 'cart'),
  rollout: of('Deployment', 'ml', 'llm'),
  job: of('Job', 'batch', 'nightly-report'),
  healthy: of('Deployment', 'shop', 'web'),
};

export function recorded(name: keyof typeof RECORDED): any {
  return JSON.parse(readFileSync(`${__dirname}/recorded/${name}.json`, 'utf8'));
}
