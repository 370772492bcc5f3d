/** Active health checks: a fresh connection each, so that they also show whether the server still accepts any. */
import { request } from 'node:http'
import { LOAD_HEADER, ROUTE_HEADER } from './answer-head.ts'
import type { Finding, Server, Servers } from './servers.ts'

export interface HealthSettings {
  readonly path: string
  readonly everyMs: number
  readonly timeoutMs: number
}

export interface Health {
  /** Starts checking; resolves once the first check has ended. */
  watch(server: Server): Promise<void>
  unwatch(server: Server): void
  close(): void
}

/** While a server is down or draining: it is wanted back soon. */
const UNUSED_EVERY_MS = 200
/** A server that breaks connections and passes checks is checked this often at most. */
const RECHECK_MS = 20

export function createHealth(settings: HealthSettings, servers: Servers): Health {
  const watched = new Map<Server, () => void>()

  function watch(server: Server): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    let stop: (() => void) | undefined
    let soon = false
    let over = false

    async function check(): Promise<void> {
      timer = undefined
      const answer = await new Promise<Found | undefined>((resolve) => {
        const cancel = probe(server, settings, resolve)
        stop = () => {
          cancel()
          resolve(undefined)
        }
      })
      stop = undefined
      if (over || answer === undefined) return
      if (answer.label !== undefined) servers.learn(server, answer.label)
      server.sessions = answer.sessions
      server.newcomers = 0
      servers.checked(server, answer.found, answer.why)
      const pause = soon ? RECHECK_MS : server.state === 'up' ? settings.everyMs : Math.min(UNUSED_EVERY_MS, settings.everyMs)
      soon = false
      plan(pause)
    }

    function plan(pause: number): void {
      timer = setTimeout(() => void check(), pause)
      timer.unref()
    }

    server.recheck = () => {
      if (over) return
      // The one under way may have been answered before the failure.
      if (timer === undefined) soon = true
      else {
        clearTimeout(timer)
        plan(0)
      }
    }
    watched.set(server, () => {
      over = true
      clearTimeout(timer)
      stop?.()
    })
    return check()
  }

  function unwatch(server: Server): void {
    watched.get(server)?.()
    watched.delete(server)
  }

  return {
    watch,
    unwatch,
    close() {
      for (const server of watched.keys()) unwatch(server)
    },
  }
}

interface Found {
  readonly found: Finding
  readonly why: string
  readonly label?: string
  readonly sessions?: number
}

/** Asks once. The returned function gives up without an answer. */
function probe(server: Server, { path, timeoutMs }: HealthSettings, answer: (found: Found) => void): () => void {
  let connected = false
  const asking = request(`${server.url}${path}`, { agent: false, headers: { connection: 'close', 'user-agent': 'holdfast-gateway' } })
  const settle = (found: Found): void => {
    clearTimeout(timer)
    answer(found)
  }
  // Timers run before sockets are read: after a stall of our own, give an answer that already lies there its turn.
  const timer = setTimeout(() => setImmediate(() => asking.destroy(new Error(TIMEOUT))), timeoutMs)
  asking.on('socket', (socket) => socket.once('connect', () => (connected = true)))
  asking.on('error', (error) => {
    if (error.message === TIMEOUT) settle({ found: 'hangs', why: 'it did not answer its health check in time' })
    else settle({ found: 'gone', why: connected ? 'it broke off its health check' : 'it cannot be reached' })
  })
  asking.on('response', (response) => {
    const label = response.headers[ROUTE_HEADER]
    const load = response.headers[LOAD_HEADER]
    const found = verdict(response.statusCode ?? 0)
    const why = `it answered ${response.statusCode} to its health check`
    const sessions = typeof load === 'string' && /^\d{1,9}$/.test(load) ? Number(load) : undefined
    settle({ found, why, ...(typeof label === 'string' && { label }), ...(sessions !== undefined && { sessions }) })
    // Reads a small rest, so that the server sees a complete exchange; nobody waits for a big one.
    response.on('error', () => undefined).resume()
    const rest = setTimeout(() => asking.destroy(), timeoutMs)
    rest.unref()
    response.on('close', () => clearTimeout(rest))
  })
  asking.end()
  return () => {
    clearTimeout(timer)
    asking.destroy()
  }
}

const TIMEOUT = 'health check timed out'

function verdict(status: number): Finding {
  // 404: an application without a health page is alive; it cannot say when it drains.
  if ((status >= 200 && status < 300) || status === 404) return 'up'
  return status === 503 ? 'draining' : 'failing'
}
