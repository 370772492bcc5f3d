/** One server with sealed sessions that can be revoked, a process of its own. Its argument is a JSON `Config`. Prints `READY PORT`. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { nodeSessions } from '../../src/adapters/node.ts'
import { SessionError } from '../../src/errors.ts'
import type { SessionStore, Transport } from '../../src/seam.ts'
import { createSessions } from '../../src/sessions.ts'
import { redisStore } from '../../src/stores/redis.ts'
import { cookieBased } from '../../src/strategies/cookie-based.ts'
import { tcpTransport } from '../../src/transports/tcp.ts'

export interface Config {
  readonly node: string
  /** Of the servers' own links. */
  readonly port: number
  readonly peers: readonly string[]
  /** The store's URL, where it remembers. */
  readonly redis?: string
}

const SECRET = 'a secret for tests, long enough to be one'
const { node, peers, port, redis } = JSON.parse(process.argv[2] as string) as Config

const revocations: Transport | SessionStore =
  redis === undefined
    ? tcpTransport({ cluster: 'revocations', secrets: SECRET, host: '127.0.0.1', port, peers: [...peers] })
    : redisStore({ url: redis })
const sessions = createSessions({
  node,
  secrets: SECRET,
  strategy: cookieBased({ revocations, guarded: ['coupon'] }),
  requires: ['revoke', 'revokeUser'],
  initial: () => ({ coupon: 'unused' }),
  cookie: { name: 'session', secure: false },
})

const handler = nodeSessions(sessions)(async (request, response, session) => {
  const { pathname, searchParams } = new URL(request.url as string, 'http://server.test')
  const user = searchParams.get('user') ?? 'ada'
  const from = performance.now()
  try {
    if (pathname === '/login') await session.login(user)
    if (pathname === '/logout') await session.logout()
    if (pathname === '/coupon') session.data.coupon = 'used'
    // By whoever may do it: no session is needed.
    if (pathname === '/logout-everywhere') await sessions.revokeUser(user)
    const { coupon } = session.data
    response.end(JSON.stringify({ node, user: session.userId ?? null, coupon, ms: performance.now() - from }))
  } catch (error) {
    response.statusCode = SessionError.is(error) ? error.status : 500
    response.end(JSON.stringify({ error: SessionError.is(error) ? error.code : String(error) }))
  }
})
const server = createServer(handler)
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
await sessions.ready()
console.log(`READY ${(server.address() as AddressInfo).port}`)
