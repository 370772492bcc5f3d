import { expect, test } from 'vitest'
import { SERVER_NAMES, SERVERS, storeAt } from '../setup/store-backends.ts'
import type { ServerName, StoreServer } from '../setup/store-backends.ts'
import { type Answer, openShop, type Shop, Visitor } from './outage.ts'

const OUTAGE_MS = 5_000
const DEADLINE_MS = 1_000
/** What a busy machine adds. */
const SLACK_MS = 1_000
const RECOVERY_MS = 1_000
const VISITORS = 4

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

interface Outage {
  readonly began: number
  readonly ended: number
}

interface Run extends Outage {
  readonly shop: Shop
  readonly visitors: readonly Visitor[]
  readonly answers: readonly Answer[]
}

/** Five seconds without a server while visitors go on; `check` runs before anything is closed. */
async function through(
  name: ServerName,
  outage: (server: StoreServer) => Promise<Outage>,
  check: (run: Run) => Promise<void>,
): Promise<void> {
  const server = await SERVERS[name]()
  const shop = await openShop(storeAt(server.url), DEADLINE_MS)
  try {
    const visitors = Array.from({ length: VISITORS }, (_, index) => new Visitor(shop.url, `u${index}`))
    for (const visitor of visitors) expect((await visitor.login()).status).toBe(200)
    for (const visitor of visitors) visitor.goOn()
    await sleep(500)
    const times = await outage(server)
    await sleep(RECOVERY_MS + 1_500)
    await Promise.all(visitors.map((visitor) => visitor.leave()))
    await check({ ...times, shop, visitors, answers: visitors.flatMap(({ answers }) => answers) })
  } finally {
    server.resume()
    await shop.close()
    await server.stop()
  }
}

async function paused(server: StoreServer): Promise<Outage> {
  const began = performance.now()
  server.pause()
  await sleep(OUTAGE_MS)
  const ended = performance.now()
  server.resume()
  return { began, ended }
}

async function killed(server: StoreServer): Promise<Outage> {
  const began = performance.now()
  await server.kill()
  await sleep(OUTAGE_MS)
  await server.restart()
  return { began, ended: performance.now() }
}

/** What holds in every outage, whatever the store keeps. */
function expectService({ began, ended, shop, answers }: Run): void {
  const before = answers.filter(({ sentAt, tookMs }) => sentAt + tookMs < began)
  expect(before.length).toBeGreaterThan(0)
  expect(new Set(before.map(({ status }) => status))).toEqual(new Set([200]))

  expect(Math.max(...answers.map(({ tookMs }) => tookMs)), 'the slowest answer').toBeLessThan(DEADLINE_MS + SLACK_MS)
  const refused = answers.filter(({ status }) => status === 503)
  for (const answer of refused) {
    expect(Number(answer.retryAfter)).toBeGreaterThan(0)
    expect(answer.setsCookies, 'an outage changes no cookie').toBe(false)
    expect(Object.keys(answer.body)).toEqual(['error'])
    expect(answer.body.error?.code).toBe('STORE_UNAVAILABLE')
  }
  const meanwhile = answers.filter(
    ({ method, sentAt }) => method === 'POST' && sentAt > began + 100 && sentAt < ended - DEADLINE_MS - SLACK_MS,
  )
  expect(meanwhile.length).toBeGreaterThanOrEqual(VISITORS)
  expect(new Set(meanwhile.map(({ status }) => status)), 'writes during the outage').toEqual(new Set([503]))
  const last = Math.max(...refused.map(({ sentAt }) => sentAt))
  expect(last - ended, 'the last refusal, after the store was back').toBeLessThan(RECOVERY_MS + SLACK_MS)
  const types = shop.events.map(({ type }) => type).filter((type) => type === 'degraded' || type === 'recovered')
  expect(types.slice(0, 2)).toEqual(['degraded', 'recovered'])
  expect(types.at(-1)).toBe('recovered')
}

/** Nobody is logged out, and nothing that was acknowledged is missing. */
async function expectNothingLost({ visitors, answers }: Run): Promise<void> {
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200, 503]))
  for (const { status, method, body } of answers)
    if (method === 'GET' && status === 200) expect(body.isNew, 'taken for a stranger').toBe(false)
  for (const visitor of visitors) {
    const { status, body } = await visitor.send('GET')
    expect([status, body.isNew, body.user]).toEqual([200, false, visitor.user])
    expect(body.visits).toBeGreaterThanOrEqual(visitor.stored)
    expect(body.visits).toBeLessThanOrEqual(visitor.stored + visitor.unsure)
  }
}

/** Each on a server of its own, so that the waiting is shared. */
test.concurrent.each(SERVER_NAMES)('%s stopped for 5 s (SIGSTOP): every request is answered in time, and nobody is logged out', (name) =>
  through(name, paused, async (run) => {
    expectService(run)
    await expectNothingLost(run)
  }),
)

const DURABLE = SERVER_NAMES.filter((name) => name !== 'memcached')

test.concurrent.each(DURABLE)('%s killed and back after 5 s: every request is answered in time, and nobody is logged out', (name) =>
  through(name, killed, async (run) => {
    expectService(run)
    await expectNothingLost(run)
  }),
)

test.concurrent('memcached killed and back after 5 s: its sessions are reported as regressed, not taken for strangers', () =>
  through('memcached', killed, async (run) => {
    expectService(run)
    const { answers, visitors, shop } = run
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200, 503, 409]))
    for (const { user, answers: own } of visitors) {
      const told = own.findIndex(({ body }) => body.error?.code === 'SESSION_REGRESSED')
      const stranger = own.findIndex(({ method, status, body }) => method === 'GET' && status === 200 && body.isNew === true)
      expect(told, `${user} was told`).toBeGreaterThan(0)
      expect(stranger === -1 || stranger > told, `${user} was told before anything else`).toBe(true)
      expect(own[told]?.status).toBe(409)
    }
    expect(shop.events.filter(({ type }) => type === 'regressed').length).toBe(VISITORS)
  }))
