/** The gateway in front of the lab's servers. */
import { setTimeout as sleep } from 'node:timers/promises'
import { createGateway, type Gateway, type ServerAddress } from '../gateway/index.ts'
import type { Policy } from './choice.ts'
import { HEALTH_PATH } from './health.ts'

const CLOSE_GRACE_MS = 500
const REMOVE_DEADLINE_MS = 2_000
const DRAIN_DEADLINE_MS = 2_000
const SERVE_DEADLINE_MS = 3_000

export interface FrontOptions {
  readonly port: number
  readonly policy: Policy
  readonly routeCookie: string
  readonly servers: readonly ServerAddress[]
}

export interface Front {
  add(server: ServerAddress): Promise<void>
  /** Sends it nothing new. Resolves when it has answered what it had begun, at the latest after 2 s. */
  drain(id: string): Promise<void>
  remove(id: string): Promise<void>
  /** Resolves when a server that came back, perhaps at another address, gets requests again. */
  serve(server: ServerAddress): Promise<void>
  /** Answers of 500 and above that visitors got. */
  failed(): number
  close(): Promise<void>
}

export async function createFront(options: FrontOptions): Promise<Front> {
  const gateway = createGateway({
    to: options.servers,
    policy: options.policy,
    port: options.port,
    host: '127.0.0.1',
    health: { path: HEALTH_PATH },
    routeCookie: options.routeCookie,
  })
  await gateway.listen()
  const known = (id: string): boolean => gateway.servers().some((server) => server.id === id)
  return {
    add: (server) => gateway.add(server),
    drain: async (id) => (known(id) ? gateway.drain(id, DRAIN_DEADLINE_MS) : undefined),
    remove: async (id) => (known(id) ? gateway.remove(id, REMOVE_DEADLINE_MS) : undefined),
    async serve(server) {
      if (gateway.servers().some(({ id, url }) => id === server.id && url === server.url)) {
        // Drained by hand was the process before: it may have gone too quickly for a health check to notice.
        gateway.resume(server.id)
        return untilUp(gateway, server.id)
      }
      if (known(server.id)) await gateway.remove(server.id, REMOVE_DEADLINE_MS)
      await gateway.add(server)
    },
    failed: () => gateway.totals().failed,
    close: () => gateway.close(CLOSE_GRACE_MS),
  }
}

/** Not only no longer down: a server that says it is still starting gets no requests, and the next one may be taken away already. */
async function untilUp(gateway: Gateway, id: string): Promise<void> {
  const until = performance.now() + SERVE_DEADLINE_MS
  while (performance.now() < until && gateway.servers().find((server) => server.id === id)?.state !== 'up') await sleep(20)
}
