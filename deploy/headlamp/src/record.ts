// Records answers for the tests: asks a running KubeHealer what the plugin asks. `kubehealer demo`, then `npm run record`.

import { writeFileSync } from 'fs';
import { DEFAULTS, pathOf, targetOf } from './api';
import { RECORDED } from './recorded';

const [, , address = 'http://localhost:8080'] = process.argv;

async function record() {
  for (const [name, resource] of Object.entries(RECORDED)) {
    const answer = await fetch(
      address + pathOf(DEFAULTS, targetOf(resource)!).replace(/^.*\/proxy/, '')
    );
    if (!answer.ok) {
      throw new Error(`${name}: ${answer.status} ${await answer.text()}`);
    }
    const text = JSON.stringify(await answer.json(), null, 2);
    writeFileSync(`${__dirname}/recorded/${name}.json`, `${text}\n`);
  }
}

record();
