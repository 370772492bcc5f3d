/** Memcached servers for tests: 127.0.0.1 only, memory only, ended by pid, also when the test process dies. */
import { createConnection } from 'node:net'
import { freePort } from './ports.ts'
import { controlled, spawnServer, untilUp } from './server-process.ts'
import type { RunningProcess } from './server-process.ts'

export interface RunningMemcached extends RunningProcess {
  readonly port: number
  /** `127.0.0.1:PORT` */
  readonly address: string
  /** Starts it again on the same port after `kill()` or `stop()`; its data is gone. */
  restart(): Promise<RunningMemcached>
  /** Sends lines as they are and resolves to the answer up to and including the line that matches. */
  ask(text: string | Buffer, last: RegExp): Promise<string>
  /** Numbers of `stats`, like `cmd_set`. */
  stats(): Promise<Readonly<Record<string, number>>>
}

export interface MemcachedOptions {
  /** More arguments, e.g. `['-I', '2m']`. */
  args?: readonly string[]
  /** Default: a free one. */
  port?: number
  /** What a server that answers says. Default: that it speaks the meta protocol. */
  isUp?: (port: number) => Promise<boolean>
}

const answersMeta = async (port: number): Promise<boolean> => (await askPort(port, 'mn\r\n', /^MN/m)) !== ''

/** Debian's memcached, with 64 MB. */
export async function startMemcached({ args = [], port, isUp = answersMeta }: MemcachedOptions = {}): Promise<RunningMemcached> {
  return launch(port ?? (await freePort()), args, isUp)
}

async function launch(port: number, args: readonly string[], isUp: (port: number) => Promise<boolean>): Promise<RunningMemcached> {
  const command = ['memcached', '-l', '127.0.0.1', '-p', String(port), '-m', '64', '-U', '0', '-t', '2', ...args]
  const server = controlled(spawnServer(command, '/', 'nobody'), 'memcached')
  await untilUp(server, 'memcached', () => isUp(port))
  const ask = (text: string | Buffer, last: RegExp): Promise<string> => askPort(port, text, last)
  return {
    ...server,
    port,
    address: `127.0.0.1:${port}`,
    restart: () => launch(port, args, isUp),
    ask,
    async stats() {
      const lines = (await ask('stats\r\n', /^END\r$/m)).matchAll(/^STAT (\S+) (\d+)\r$/gm)
      return Object.fromEntries([...lines].map(([, name, value]) => [name, Number(value)]))
    },
  }
}

function askPort(port: number, text: string | Buffer, last: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = ''
    const socket = createConnection({ port, host: '127.0.0.1' })
    socket.setTimeout(2_000, () => socket.destroy(new Error('no answer')))
    socket.once('error', reject)
    socket.once('close', () => reject(new Error(`memcached closed the connection: ${answer}`)))
    socket.once('connect', () => socket.write(text))
    socket.on('data', (data) => {
      answer += data.toString('latin1')
      if (!last.test(answer)) return
      resolve(answer)
      socket.destroy()
    })
  })
}
