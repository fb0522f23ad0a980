import { ApiProxy, ConfigStore } from '@kinvolk/headlamp-plugin/lib';
import {
  DateLabel,
  SectionBox,
  SimpleTable,
  StatusLabel,
} from '@kinvolk/headlamp-plugin/lib/CommonComponents';
import { Box, Link, Typography } from '@mui/material';
import { useEffect, useState } from 'react';
import {
  addressOf,
  isCommand,
  pathOf,
  Row,
  Settings,
  settingsOf,
  Target,
  troubleOf,
  View,
  viewOf,
} from './api';

/** The name under which Headlamp stores the settings: that of the package. */
export const PLUGIN = 'kubehealer';
const useStored = new ConfigStore<Partial<Settings>>(PLUGIN).useConfig();

const REFRESH_MS = 30_000;
const TIMEOUT_MS = 10_000;
const STATUS = { critical: 'error', warning: 'warning', info: '' } as const;
const PODS = 3;

/** Asks again some time after each answer, and not while nobody looks. */
function useView(cluster: string, settings: Settings, target: Target): View | undefined {
  const [view, setView] = useState<View>();
  const path = pathOf(settings, target);
  useEffect(() => {
    let live = true;
    let timer: ReturnType<typeof setTimeout>;
    async function ask() {
      if (!document.hidden) {
        const next = await ApiProxy.request(path, { cluster, timeout: TIMEOUT_MS }, false).then(
          answer => viewOf(answer, target),
          error => ({ rows: [], notes: [troubleOf(error, settings)] })
        );
        if (!live) {
          return;
        }
        setView(next);
      }
      timer = setTimeout(ask, REFRESH_MS);
    }
    ask();
    return () => {
      live = false;
      clearTimeout(timer);
    };
    // The path says all of settings and target.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [cluster, path]);
  return view;
}

function What({ row, statusPage }: { row: Row; statusPage: string }) {
  const address = addressOf(statusPage, row.id);
  const pods = row.pods.slice(0, PODS).join(', ');
  const more = row.pods.length - PODS;
  return (
    <>
      <Typography fontWeight="bold">
        {address ? (
          <Link href={address} target="_blank" rel="noopener noreferrer">
            {row.reason}
          </Link>
        ) : (
          row.reason
        )}
      </Typography>
      <Typography sx={{ overflowWrap: 'anywhere' }}>{row.summary}</Typography>
      {pods && (
        <Typography variant="body2" color="text.secondary">
          {`Pods: ${pods}${more > 0 ? ` and ${more} more` : ''}`}
        </Typography>
      )}
      {row.mutedUntil && (
        <Typography variant="body2" color="text.secondary">
          {`Does not alert until ${row.mutedUntil}`}
        </Typography>
      )}
    </>
  );
}

function NextSteps({ steps }: { steps: string[] }) {
  return (
    <Box component="ul" sx={{ margin: 0, paddingLeft: 2, overflowWrap: 'anywhere' }}>
      {steps.map((step, index) => (
        // One click selects a command, to be copied.
        <li key={index}>
          {isCommand(step) ? <code style={{ userSelect: 'all' }}>{step}</code> : step}
        </li>
      ))}
    </Box>
  );
}

/** What KubeHealer finds wrong with an object. Nothing is shown while there is nothing to say. */
export function Findings({ cluster, target }: { cluster: string; target: Target }) {
  const settings = settingsOf(useStored());
  const view = useView(cluster, settings, target);
  if (!view || (view.rows.length === 0 && view.notes.length === 0)) {
    return null;
  }
  return (
    <SectionBox title="KubeHealer">
      {view.rows.length > 0 && (
        <SimpleTable
          columns={[
            {
              label: 'Severity',
              gridTemplate: 'min-content',
              getter: (row: Row) => (
                <StatusLabel status={STATUS[row.severity]}>{row.severity}</StatusLabel>
              ),
            },
            {
              label: 'What is wrong',
              gridTemplate: '2fr',
              getter: (row: Row) => <What row={row} statusPage={settings.statusPage} />,
            },
            {
              label: 'Since',
              gridTemplate: 'min-content',
              getter: (row: Row) => row.since && <DateLabel date={row.since} />,
            },
            {
              label: 'Next steps',
              gridTemplate: '2fr',
              getter: (row: Row) => <NextSteps steps={row.nextSteps} />,
            },
          ]}
          data={view.rows}
        />
      )}
      {view.notes.map(note => (
        <Typography key={note} variant="body2" color="text.secondary" sx={{ paddingTop: 1 }}>
          {note}
        </Typography>
      ))}
    </SectionBox>
  );
}
