import { createMuiTheme } from '@kinvolk/headlamp-plugin/lib/lib/themes';
import store from '@kinvolk/headlamp-plugin/lib/redux/stores/store';
import { ThemeProvider } from '@mui/material';
import { act, cleanup, render, screen } from '@testing-library/react';
import { Provider } from 'react-redux';
import { MemoryRouter } from 'react-router-dom';
import { isCommand, targetOf } from './api';
import { Findings } from './Findings';
import { RECORDED, recorded } from './recorded';

// It looks for kubeconfigs in the browser's database, which jsdom does not have.
vi.mock('@kinvolk/headlamp-plugin/lib/stateless/findKubeconfigByClusterName', () => ({
  findKubeconfigByClusterName: async () => null,
}));

const CART = targetOf(RECORDED.deployment)!;
const theme = createMuiTheme({ name: 'light', base: 'light' });
const asked = vi.fn<(url: string) => Promise<Response>>();

/** Headlamp's own components and requests; only the network is played. */
async function show(answer: unknown, status = 200, statusText = '') {
  asked.mockImplementation(
    async () => new Response(JSON.stringify(answer), { status, statusText })
  );
  const page = (
    <Provider store={store}>
      <ThemeProvider theme={theme}>
        <MemoryRouter>
          <Findings cluster="prod" target={CART} />
        </MemoryRouter>
      </ThemeProvider>
    </Provider>
  );
  const { container } = render(page);
  await pass(0);
  return container;
}

const pass = (ms: number) => act(() => vi.advanceTimersByTimeAsync(ms));

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('fetch', asked);
});
afterEach(() => {
  cleanup();
  asked.mockReset();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test('shows what is wrong, since when, and what to do', async () => {
  const answer = recorded('deployment');
  const crash = answer.items.find((item: any) => item.reason === 'CrashLoopBackOff');
  vi.setSystemTime(Date.parse(crash.since) + 5 * 60_000);
  await show(answer);

  const url = new URL(asked.mock.calls[0][0]);
  expect(url.pathname).toBe(
    '/clusters/prod/api/v1/namespaces/kubehealer/services/http:kubehealer:8080/proxy/api/v1/incidents'
  );
  expect(url.searchParams.get('q')).toBe('Deployment/cart');
  screen.getByText('KubeHealer');
  screen.getByText('warning');
  screen.getByText(crash.summary);
  screen.getByText('5m');
  const command = screen.getByText(crash.nextSteps.find(isCommand));
  expect(command.tagName).toBe('CODE');
  const link = screen.getByText('CrashLoopBackOff');
  expect(link.getAttribute('href')).toBe(`http://localhost:8080/incidents/${crash.id}`);
  expect(link.getAttribute('rel')).toBe('noopener noreferrer');
});

test('shows nothing where nothing is wrong', async () => {
  const container = await show(recorded('healthy'));
  expect(asked).toHaveBeenCalledTimes(1);
  expect(container.innerHTML).toBe('');
});

test('shows text as text, whatever it holds', async () => {
  const hostile = '<img src=x onerror="alert(1)"><script>alert(1)</script>';
  const answer = recorded('deployment');
  const items = answer.items.map((item: any) => ({
    ...item,
    id: hostile,
    reason: hostile,
    summary: `summary ${hostile}`,
    nextSteps: [`kubectl ${hostile}`],
    since: hostile,
  }));
  const container = await show({ ...answer, items, notReady: hostile });
  expect(container.textContent).toContain(`summary ${hostile}`);
  expect(container.querySelectorAll('img, script')).toHaveLength(0);
});

test('says in one sentence that it may not be read', async () => {
  const status = { kind: 'Status', message: 'services "http:kubehealer:8080" is forbidden' };
  const container = await show(status, 403, 'Forbidden');
  expect(container.textContent).toMatch(/get services\/proxy of http:kubehealer:8080\.$/);
});

test('asks again from time to time, not while nobody looks, and no more when the page is left', async () => {
  await show(recorded('healthy'));
  await pass(29_000);
  expect(asked).toHaveBeenCalledTimes(1);
  await pass(2_000);
  expect(asked).toHaveBeenCalledTimes(2);

  const hidden = vi.spyOn(document, 'hidden', 'get').mockReturnValue(true);
  await pass(120_000);
  expect(asked).toHaveBeenCalledTimes(2);
  hidden.mockRestore();
  await pass(31_000);
  expect(asked).toHaveBeenCalledTimes(3);

  cleanup();
  await pass(120_000);
  expect(asked).toHaveBeenCalledTimes(3);
});
