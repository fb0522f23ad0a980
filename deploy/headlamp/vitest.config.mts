import { defineConfig } from 'vitest/config';

// The tests render Headlamp's own components. They are written for a bundler, so they are bundled here as well.
export default defineConfig({
  test: {
    globals: true,
    environment: 'jsdom',
    silent: 'passed-only',
    server: { deps: { inline: [/@kinvolk\/headlamp-plugin/] } },
  },
});
