import './index';
import { DefaultDetailsViewSection } from '@kinvolk/headlamp-plugin/lib';
import store from '@kinvolk/headlamp-plugin/lib/redux/stores/store';
import { fireEvent, render, screen } from '@testing-library/react';
import { DEFAULTS } from './api';
import { Findings } from './Findings';
import { SettingsForm } from './SettingsForm';

const of = (kind: string): any => ({
  kind,
  cluster: 'prod',
  metadata: { name: 'a', namespace: 'b', uid: 'u' },
});

test('the findings stand before the metadata of a pod, and on no page of another kind', () => {
  const { detailsViewSectionsProcessors } = store.getState().detailsViewSection;
  expect(detailsViewSectionsProcessors).toHaveLength(1);
  const { processor } = detailsViewSectionsProcessors[0];
  const header = { id: DefaultDetailsViewSection.MAIN_HEADER };
  const metadata = { id: DefaultDetailsViewSection.METADATA };

  const [first, second, third]: any[] = processor(of('Pod'), [header, metadata]);
  expect([first, third]).toEqual([header, metadata]);
  expect(second.section.type).toBe(Findings);
  expect(second.section.props).toEqual({ cluster: 'prod', target: { namespace: 'b', pod: 'a' } });
  for (const other of [of('ConfigMap'), null]) {
    expect(processor(other, [header, metadata])).toEqual([header, metadata]);
  }
});

test('the settings begin with what the chart installs, and a change keeps the others', () => {
  const changed = vi.fn();
  render(<SettingsForm data={{ port: '80' }} onDataChange={changed} />);
  const value = (label: string) => (screen.getByLabelText(label) as HTMLInputElement).value;
  expect(['Namespace', 'Service', 'Port'].map(value)).toEqual(['kubehealer', 'kubehealer', '80']);
  expect(value('Status page')).toBe(DEFAULTS.statusPage);
  fireEvent.change(screen.getByLabelText('Namespace'), { target: { value: 'monitoring' } });
  expect(changed).toHaveBeenCalledWith({ port: '80', namespace: 'monitoring' });
});
