import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Random, seededRandom } from '../setup/virtual-runtime.ts'
import { arrived, openGate, type Server, SessionCluster, STRATEGIES, TITLES } from './session-cluster.ts'
import { type Answer, type Request, Visitor } from './visitor.ts'

const SEED = Number(process.env.HOLDFAST_TEST_SEED ?? 1)
const DEADLINE_MS = 180_000
const ADDITIONS = 1_000
/** Every field is written several times, so that a write of an older copy shows. A cookie holds 4 KB: there fewer fields. */
const WRITES = { server: { fields: 250, rounds: 4 }, browser: { fields: 50, rounds: 20 } } as const

/**
 * Requests of one visitor, 2 to 8 at once, over the servers in turn. Answers reach the jar in shuffled order, some only
 * after the next requests have left.
 */
async function inParallel(cluster: SessionCluster, visitor: Visitor, requests: readonly Request[], random: Random): Promise<void> {
  let late: Answer[] = []
  for (let next = 0; next < requests.length; ) {
    const batch = requests.slice(next, next + random.between(2, 8))
    const sent = batch.map((request, index) => visitor.send(cluster.server(next + index), request))
    next += batch.length
    for (const answer of late) visitor.take(answer)
    const answers = shuffled(await Promise.all(sent), random)
    for (const answer of answers) if (answer.status !== 200) throw new Error(`seed ${SEED}: ${answer.status} ${answer.code}`)
    late = answers.filter(() => random.chance(0.2))
    for (const answer of answers) if (!late.includes(answer)) visitor.take(answer)
  }
  for (const answer of late) visitor.take(answer)
}

function shuffled<T>(items: readonly T[], random: Random): T[] {
  const left = [...items]
  return items.map(() => left.splice(random.between(0, left.length - 1), 1)[0] as T)
}

/** A write that has opened its session at `server` and waits there, while `meanwhile` runs. Its answer comes afterwards. */
async function slowly(visitor: Visitor, server: Server, request: Request, gate: string, meanwhile: () => Promise<void>): Promise<Answer> {
  const slow = visitor.send(server, { ...request, path: `${request.path}?gate=${gate}` })
  slow.catch(() => undefined)
  await arrived(server, gate)
  await meanwhile()
  await openGate(server, gate)
  return slow
}

async function withData(cluster: SessionCluster, data: object): Promise<Visitor> {
  const visitor = new Visitor()
  await visitor.visit(cluster.server(0), { path: 'POST /set', body: data })
  return visitor
}

/** What each server reads, asked with a copy of the jar: one's answers change nothing for the others. */
function everywhere(cluster: SessionCluster, visitor: Visitor): Promise<(Record<string, unknown> | undefined)[]> {
  return Promise.all(cluster.servers.map((server) => visitor.copy().read(server)))
}

for (const strategy of STRATEGIES) {
  const inBrowser = strategy === 'cookieBased'

  describe(`${TITLES[strategy]}, three server processes`, () => {
    let cluster: SessionCluster
    beforeAll(async () => void (cluster = await SessionCluster.start(strategy)))
    afterAll(() => cluster?.stop())

    const { fields, rounds } = inBrowser ? WRITES.browser : WRITES.server
    test(`0 of ${fields * rounds} parallel writes to ${fields} fields are lost`, { timeout: DEADLINE_MS }, async () => {
      const random = seededRandom(SEED)
      const visitor = await withData(cluster, { start: 0 })
      const expected: Record<string, number> = { start: 0 }
      for (let round = 1; round <= rounds; round++) {
        const writes = Array.from({ length: fields }, (_, field) => ({ path: 'POST /set', body: { [`f${field}`]: round } }) as const)
        for (const { body } of writes) Object.assign(expected, body)
        await inParallel(cluster, visitor, writes, random)
      }
      for (const read of await everywhere(cluster, visitor)) {
        const lost = Object.keys(expected).filter((field) => read?.[field] !== expected[field])
        expect(lost, `seed ${SEED}: fields lost`).toEqual([])
      }
      // A browser's cookie header stays bounded however many answers the jar took.
      expect(visitor.mostHeaderBytes).toBeLessThan(inBrowser ? 12_000 : 4_000)
    })

    test(`${ADDITIONS} additions to one counter sum exactly`, { timeout: DEADLINE_MS }, async () => {
      const visitor = await withData(cluster, { visits: 0 })
      const additions = Array.from({ length: ADDITIONS }, () => ({ path: 'POST /add', body: { visits: 1 } }) as const)
      await inParallel(cluster, visitor, additions, seededRandom(SEED + 1))
      for (const read of await everywhere(cluster, visitor)) expect(read, `seed ${SEED + 1}`).toEqual({ visits: ADDITIONS })
    })

    test('a slow reader undoes nothing', async () => {
      const visitor = await withData(cluster, { a: 1, b: 1 })
      const slow = await slowly(visitor, cluster.server(1), { path: 'GET /session' }, 'reader', async () => {
        await visitor.visit(cluster.server(2), { path: 'POST /set', body: { a: 2 } })
        await visitor.visit(cluster.server(0), { path: 'POST /set', body: { b: 2 } })
      })
      expect(slow).toMatchObject({ status: 200, data: { a: 1, b: 1 } })
      visitor.take(slow)
      for (const read of await everywhere(cluster, visitor)) expect(read).toEqual({ a: 2, b: 2 })
    })

    test('a slow writer neither delays its siblings nor undoes them', async () => {
      const visitor = await withData(cluster, { a: 1, b: 1 })
      const slow = await slowly(visitor, cluster.server(1), { path: 'POST /set', body: { c: 2 } }, 'writer', async () => {
        // They end while the slow one still waits at its gate.
        await visitor.visit(cluster.server(1), { path: 'POST /set', body: { a: 2 } })
        await visitor.visit(cluster.server(2), { path: 'POST /set', body: { b: 2 } })
      })
      visitor.take(slow)
      for (const read of await everywhere(cluster, visitor)) expect(read).toEqual({ a: 2, b: 2, c: 2 })
    })

    if (inBrowser) describeEndsInBrowser(() => cluster)
    else describeEndsOnServers(() => cluster)
  })
}

function describeEndsOnServers(cluster: () => SessionCluster): void {
  test('a slow writer does not bring a logged-out session back: 409, and the old jar is dead on every server', async () => {
    const visitor = await withData(cluster(), { a: 1 })
    const old = visitor.copy()
    const slow = await slowly(visitor, cluster().server(1), { path: 'POST /set', body: { a: 2 } }, 'logout', async () => {
      await visitor.visit(cluster().server(0), { path: 'POST /logout' })
    })
    expect(slow).toMatchObject({ status: 409, code: 'SESSION_GONE', cookies: [] })
    visitor.take(slow)
    expect(visitor.cookieNames).toEqual([])
    expect(await everywhere(cluster(), old)).toEqual([undefined, undefined, undefined])
    // Nor does a write with the old jar that comes only now.
    for (const server of cluster().servers) {
      const answer = await old.send(server, { path: 'POST /set', body: { a: 3 } })
      expect(answer).toMatchObject({ status: 409, code: 'SESSION_GONE', cookies: [] })
      expect(await old.copy().read(server)).toBeUndefined()
    }
  })

  test('a slow writer does not undo a login: 409 SESSION_REPLACED, and the old jar is dead on every server', async () => {
    const visitor = await withData(cluster(), { a: 1 })
    const old = visitor.copy()
    const slow = await slowly(visitor, cluster().server(1), { path: 'POST /set', body: { a: 2 } }, 'login', async () => {
      await visitor.visit(cluster().server(0), { path: 'POST /login', body: { user: 'ada' } })
    })
    expect(slow).toMatchObject({ status: 409, code: 'SESSION_REPLACED', cookies: [] })
    visitor.take(slow)
    expect(await everywhere(cluster(), old)).toEqual([undefined, undefined, undefined])
    for (const server of cluster().servers) {
      expect(await old.send(server, { path: 'POST /set', body: { a: 3 } })).toMatchObject({
        status: 409,
        code: 'SESSION_REPLACED',
        cookies: [],
      })
      expect(await visitor.visit(server, { path: 'GET /session' })).toMatchObject({ user: 'ada', data: { a: 1 } })
    }
  })
}

const EXCEPTION = 'exception: no server remembers that a session ended, so a copy of the old jar lives on'

function describeEndsInBrowser(cluster: () => SessionCluster): void {
  test(`a slow writer does not bring a logged-out session back into the browser [${EXCEPTION}]`, async () => {
    const visitor = await withData(cluster(), { a: 1 })
    const old = visitor.copy()
    const slow = await slowly(visitor, cluster().server(1), { path: 'POST /set', body: { a: 2 } }, 'logout', async () => {
      await visitor.visit(cluster().server(0), { path: 'POST /logout' })
    })
    visitor.take(slow)
    expect(await everywhere(cluster(), visitor)).toEqual([undefined, undefined, undefined])
    for (const read of await everywhere(cluster(), old)) expect(read).toEqual({ a: 1 })
  })

  test(`a slow writer does not undo a login in the browser [${EXCEPTION}]`, async () => {
    const visitor = await withData(cluster(), { a: 1 })
    const old = visitor.copy()
    const slow = await slowly(visitor, cluster().server(1), { path: 'POST /set', body: { a: 2 } }, 'login', async () => {
      await visitor.visit(cluster().server(0), { path: 'POST /login', body: { user: 'ada' } })
    })
    visitor.take(slow)
    for (const server of cluster().servers) {
      expect(await visitor.visit(server, { path: 'GET /session' })).toMatchObject({ user: 'ada', data: { a: 1 } })
    }
    for (const read of await everywhere(cluster(), old)) expect(read).toEqual({ a: 1 })
  })
}
