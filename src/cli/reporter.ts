/** How the command line tells what happens: plain lines, or something kinder for a terminal. */
export interface Reporter {
  begin(title: string): void
  step(line: string): void
  ready(gatewayUrl: string, controlUrl: string): void
  end(line: string): void
  /** Something failed: leave the terminal as it was. */
  abandon(): void
}

export function plainReporter(): Reporter {
  const print = (line: string): void => void process.stdout.write(`${line}\n`)
  return {
    begin: (title) => print(title),
    step: (line) => print(line),
    ready: (gatewayUrl, controlUrl) => print(readyLine(gatewayUrl, controlUrl)),
    end: (line) => print(line),
    abandon: () => undefined,
  }
}

function readyLine(gatewayUrl: string, controlUrl: string): string {
  return `ready: shop ${gatewayUrl} · control ${controlUrl}`
}

export async function richReporter(): Promise<Reporter> {
  const { intro, log, note, outro, spinner } = await import('../vendor/clack.ts')
  const spin = spinner()
  let spinning = false
  return {
    begin(title) {
      intro(title)
      spin.start('starting')
      spinning = true
    },
    step(line) {
      if (spinning) spin.message(line)
      else log.message(line)
    },
    ready(gatewayUrl, controlUrl) {
      spin.stop(readyLine(gatewayUrl, controlUrl))
      spinning = false
      note(`Shop      ${gatewayUrl}\nControl   ${controlUrl}\n\nCtrl-C ends everything.`, 'Your cluster is running')
    },
    end: (line) => outro(line),
    abandon() {
      if (spinning) spin.stop('stopped')
      spinning = false
    },
  }
}
