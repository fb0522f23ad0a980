import { PluginSettingsDetailsProps } from '@kinvolk/headlamp-plugin/lib';
import { Stack, TextField } from '@mui/material';
import { DEFAULTS, Settings } from './api';

const FIELDS: [keyof Settings, string, string][] = [
  ['namespace', 'Namespace', 'Where KubeHealer is installed'],
  ['service', 'Service', 'The name of its Service'],
  ['port', 'Port', 'The port of its Service'],
  ['statusPage', 'Status page', 'Its address, to which incidents link. Empty: no links'],
];

/** Headlamp keeps what it is given here, and stores it when "Save" is pressed. */
export function SettingsForm({ data, onDataChange }: PluginSettingsDetailsProps) {
  return (
    <Stack spacing={2} sx={{ maxWidth: 480, paddingTop: 2 }}>
      {FIELDS.map(([name, label, help]) => (
        <TextField
          key={name}
          id={`kubehealer-${name}`}
          label={label}
          helperText={help}
          value={data?.[name] ?? DEFAULTS[name]}
          onChange={event => onDataChange?.({ ...data, [name]: event.target.value })}
        />
      ))}
    </Stack>
  );
}
