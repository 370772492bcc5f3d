/** `holdfast lab`: a live cluster on this machine until Ctrl-C. */
import { startLab } from '../lab/lab.ts'
import { checkStrategy } from '../lab/strategy.ts'
import { labSettings } from './lab-options.ts'
import { openBrowser } from './open-browser.ts'
import { usageError, usageErrors } from './usage-error.ts'
import { plainReporter, type Reporter, richReporter } from './reporter.ts'

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

const FEWEST_COLUMNS = 60

/** A terminal that tells no width, or a narrow one, would break the frames. */
function isRoomyTerminal(): boolean {
  return process.stdout.isTTY && process.stdout.columns >= FEWEST_COLUMNS
}

/** Resolves to the exit code, once everything it started has ended. */
export async function labCommand(flags: Readonly<Record<string, unknown>>): Promise<number> {
  const settings = usageError(() => labSettings(flags, process.env))
  await usageErrors(() => checkStrategy(settings.choice))
  const reporter: Reporter = settings.headless || !isRoomyTerminal() ? plainReporter() : await richReporter()
  const stopping = new AbortController()
  const stopped = new Promise<void>((resolve) => {
    stopping.signal.addEventListener('abort', () => resolve(), { once: true })
  })
  for (const signal of SIGNALS) process.on(signal, () => stopping.abort())

  reporter.begin('Holdfast lab')
  try {
    const lab = await startLab({ ...settings, log: (line) => reporter.step(line) }, stopping.signal)
    reporter.ready(lab.gatewayUrl, lab.controlUrl)
    if (settings.open && !(await openBrowser(lab.controlUrl))) reporter.step('no browser could be opened: use the address above')
    await stopped
    reporter.step('stopping')
    await lab.close()
  } catch (error) {
    reporter.abandon()
    // A start that was interrupted has been cleaned up: that is what was asked for.
    if (!stopping.signal.aborted) throw error
  }
  reporter.end('stopped: no process is left running')
  return 0
}
