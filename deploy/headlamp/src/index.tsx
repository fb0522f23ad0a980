import {
  DefaultDetailsViewSection,
  registerDetailsViewSectionsProcessor,
  registerPluginSettings,
} from '@kinvolk/headlamp-plugin/lib';
import { targetOf } from './api';
import { Findings, PLUGIN } from './Findings';
import { SettingsForm } from './SettingsForm';

registerPluginSettings(PLUGIN, SettingsForm, true);

// Before all else on the page of a pod or workload: who opens it wants to know what is wrong.
registerDetailsViewSectionsProcessor((resource, sections) => {
  const target = resource?.metadata && targetOf(resource);
  if (!target) {
    return sections;
  }
  const findings = (
    <Findings key={resource.metadata.uid} cluster={resource.cluster} target={target} />
  );
  const at = sections.findIndex(
    (section: any) => section?.id === DefaultDetailsViewSection.METADATA
  );
  return [
    ...sections.slice(0, Math.max(at, 0)),
    { id: PLUGIN, section: findings },
    ...sections.slice(Math.max(at, 0)),
  ];
});
