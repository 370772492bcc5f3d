import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BrowserContext, chromium } from 'playwright-core'

const EXECUTABLE = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => existsSync(path))
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

export interface RunningBrowser {
  readonly context: BrowserContext
  close(): Promise<void>
}

/** Headless, with a profile of its own that is thrown away. */
export async function startBrowser(viewport: { width: number; height: number } = { width: 1280, height: 800 }): Promise<RunningBrowser> {
  if (EXECUTABLE === undefined) throw new Error('no Chromium found: apt-get install chromium')
  const profile = await mkdtemp(join(tmpdir(), 'holdfast-chromium-'))
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: EXECUTABLE,
    headless: true,
    args: FLAGS,
    viewport,
    timeout: 60_000,
  })
  context.setDefaultTimeout(20_000)
  return {
    context,
    async close() {
      await context.close()
      await rm(profile, { recursive: true, force: true, maxRetries: 3 })
    },
  }
}
