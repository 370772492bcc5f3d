import { type ChildProcess, spawn } from 'node:child_process'
import { processFile } from './locate.ts'

export interface Watchdog {
  readonly pid: number | undefined
  watch(pid: number): void
  forget(pid: number): void
  /** A folder that goes when the lab does. */
  removeAtEnd(folder: string): void
  /** Ends the watchdog; what it still watches ends with it. */
  close(): Promise<void>
}

export function startWatchdog(): Watchdog {
  // A group of its own: Ctrl-C and a killed terminal must not take it first.
  const child: ChildProcess = spawn(process.execPath, [processFile('watchdog-main')], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve())
    child.once('error', () => resolve())
  })
  child.stdin?.on('error', () => undefined)
  const write = (line: string): void => void child.stdin?.write(`${line}\n`)
  return {
    pid: child.pid,
    watch: (pid) => write(`+${pid}`),
    forget: (pid) => write(`-${pid}`),
    removeAtEnd: (folder) => write(`rm ${folder}`),
    async close() {
      child.stdin?.end()
      const deadline = setTimeout(() => child.kill('SIGKILL'), 2_000)
      await ended
      clearTimeout(deadline)
    },
  }
}
