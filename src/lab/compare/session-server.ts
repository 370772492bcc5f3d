/** The session server of `dedicated`: a Redis of our own where one is installed, so that it can be stopped; else a SQLite file. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { labError } from '../lab-error.ts'
import { freePort } from '../ports.ts'
import type { Watchdog } from '../watchdog.ts'

const START_DEADLINE_MS = 5_000
const ASK_DEADLINE_MS = 1_000

export interface SessionServer {
  /** For people. */
  readonly name: string
  /** Undefined: the lab's own SQLite file. */
  readonly url: string | undefined
  readonly pids: readonly number[]
  /** Bytes in and out so far; undefined: it does not tell. */
  traffic(): Promise<number | undefined>
  /** Undefined: it is nobody's process here, and cannot be stopped. */
  readonly pause: ((isStopped: boolean) => void) | undefined
  close(): void
}

export function givenServer(url: string, shown: string): SessionServer {
  return { name: shown, url, pids: [], traffic: async () => undefined, pause: undefined, close: () => undefined }
}

export async function ownServer(watchdog: Watchdog): Promise<SessionServer> {
  if (spawnSync('redis-server', ['--version'], { stdio: 'ignore' }).status !== 0) return sqlite()
  const port = await freePort()
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--daemonize', 'no']
  const child: ChildProcess = spawn('redis-server', args, { stdio: 'ignore' })
  child.on('error', () => undefined)
  if (child.pid !== undefined) watchdog.watch(child.pid)
  const until = performance.now() + START_DEADLINE_MS
  while ((await ask(port, 'PING')) === undefined) {
    if (performance.now() > until || child.exitCode !== null) {
      child.kill('SIGKILL')
      throw labError(500, 'START_FAILED', 'redis-server did not start: see whether it runs by itself, or give --store URL.')
    }
    await sleep(20)
  }
  return {
    name: 'Redis',
    url: `redis://127.0.0.1:${port}`,
    pids: child.pid === undefined ? [] : [child.pid],
    async traffic() {
      const info = await ask(port, 'INFO stats')
      const [input, output] = ['input', 'output'].map((way) => Number(new RegExp(`total_net_${way}_bytes:(\\d+)`).exec(info ?? '')?.[1]))
      return info === undefined ? undefined : (input as number) + (output as number)
    },
    pause: (isStopped) => void child.kill(isStopped ? 'SIGSTOP' : 'SIGCONT'),
    close() {
      if (child.pid !== undefined) watchdog.forget(child.pid)
      child.kill('SIGKILL')
    },
  }
}

function sqlite(): SessionServer {
  return { name: 'SQLite', url: undefined, pids: [], traffic: async () => undefined, pause: undefined, close: () => undefined }
}

/** One inline command; undefined: no answer. */
function ask(port: number, command: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    let text = ''
    const socket = connect({ host: '127.0.0.1', port, timeout: ASK_DEADLINE_MS })
    socket.setEncoding('latin1')
    socket.on('connect', () => socket.end(`${command}\r\nQUIT\r\n`))
    socket.on('data', (chunk: string) => (text += chunk))
    socket.on('timeout', () => socket.destroy())
    socket.on('error', () => undefined)
    socket.on('close', () => resolve(text === '' ? undefined : text))
  })
}
