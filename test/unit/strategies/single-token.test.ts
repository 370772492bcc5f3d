/** Why the jar holds a root and notes: what one mutable token cookie, and a scalar floor, would let through. */
import { describe, expect, test } from 'vitest'
import { createSessionsWith } from '../../../src/sessions.ts'
import { replication } from '../../../src/strategies/replication.ts'
import { BrowserJar } from '../../../src/testing/browser-jar.ts'
import { type Data, request } from '../../../src/testing/visit.ts'
import { memoryNetwork, type MemoryNetwork } from '../../../src/transports/memory.ts'
import type { Sessions } from '../../../src/types.ts'
import { ReadHistory } from '../../cluster/reads.ts'
import { COOKIE_NAME, ScalarFloorJar, SECRET, SingleTokenJar, type TabJar } from '../../cluster/token-jars.ts'
import { createVirtualWorld, type VirtualWorld } from '../../setup/virtual-runtime.ts'

interface Stage {
  readonly world: VirtualWorld
  readonly network: MemoryNetwork
  readonly a: Sessions<Data>
  readonly b: Sessions<Data>
  readonly c: Sessions<Data>
  run<T>(work: Promise<T>): Promise<T>
}

async function stage(): Promise<Stage> {
  const world = createVirtualWorld({ seed: 1 })
  const network = memoryNetwork({ runtime: world.runtime(), latencyMs: 1 })
  const [a, b, c] = ['a', 'b', 'c'].map((node) =>
    createSessionsWith<Data>(
      { secrets: SECRET, node, cookie: { name: COOKIE_NAME, secure: false }, strategy: replication({ transport: network.join() }) },
      world.runtime(),
    ),
  ) as [Sessions<Data>, Sessions<Data>, Sessions<Data>]
  async function run<T>(work: Promise<T>): Promise<T> {
    let settled = false
    const mark = (): void => {
      settled = true
    }
    work.then(mark, mark)
    await world.advanceUntil(() => settled, 20_000, 'the work ends')
    return work
  }
  await run(Promise.all([a.ready(), b.ready(), c.ready()]))
  await world.advance(100)
  return { world, network, a, b, c, run }
}

const set =
  (field: string) =>
  ({ data }: { data: Data }): void => {
    data[field] = 1
  }

/** `a` is written at A and `b` at B, at once, B's answer last; C has B's write and not yet A's. What does C answer? */
async function readAtC(jarOf: (world: VirtualWorld) => TabJar): Promise<Data> {
  const { a, b, c, network, run, world } = await stage()
  const jar = jarOf(world)
  const first = await run(request(a, jar.request(), ({ data }) => void (data.start = 1)))
  jar.take(first.cookies)
  await world.advance(100)
  // B has written twice before it hears of A's write, which confirms it; C hears of that later than of B's.
  network.faults('a', 'b', { latencyMs: 20 })
  network.hold('a', 'c')
  const tabs = [
    request(a, jar.request(), ({ data }) => void (data.a = 1)),
    request(b, jar.request(), async (session) => {
      session.data.b = 0
      await session.save()
      session.data.b = 1
    }),
  ]
  for (const { cookies } of await run(Promise.all(tabs))) jar.take(cookies)
  const { result } = await run(request(c, jar.request(), ({ data }) => ({ ...data })))
  return result
}

describe('two tabs write at once and a third server has only one of the writes', () => {
  test('root and notes - the server catches up before it answers', async () => {
    expect(await readAtC(() => new BrowserJar())).toEqual({ start: 1, a: 1, b: 1 })
  })

  test('one mutable token cookie - it answers without the other write, unnoticed', async () => {
    expect(await readAtC(() => new SingleTokenJar())).toEqual({ start: 1, b: 1 })
  })

  test('a scalar floor, the highest stamp only - likewise', async () => {
    expect(await readAtC((world) => new ScalarFloorJar(world.runtime()))).toEqual({ start: 1, b: 1 })
  })
})

test('a slow answer to the old id does not overwrite a fresh login', async () => {
  const { a, b, c, run, world } = await stage()
  const jar = new BrowserJar()
  jar.take((await run(request(a, jar.request(), set('start')))).cookies)
  await world.advance(100)
  // Stored before the login, but its answer is under way for longer.
  const slow = await run(request(b, jar.request(), set('late')))
  const login = await run(request(a, jar.request(), (session) => session.login('ada')))
  jar.take(login.cookies)
  jar.take(slow.cookies)
  const { result } = await run(request(c, jar.request(), (session) => session.userId))
  expect(result).toBe('ada')
})

describe('the judgement over a history', () => {
  test('a read that lacks what the jar had taken is stale, a missing field too', () => {
    const history = new ReadHistory()
    history.taken({ left: 2, right: 1 })
    history.read(history.sent(), { left: 1 })
    expect(history.staleReads()).toEqual([
      { request: 1, field: 'left', known: 2, read: 1 },
      { request: 1, field: 'right', known: 1, read: undefined },
    ])
  })

  test('a request owes nothing that the jar took after it was sent', () => {
    const history = new ReadHistory()
    history.taken({ left: 1 })
    const sent = history.sent()
    history.taken({ left: 2 })
    history.read(sent, { left: 1 })
    expect(history.staleReads()).toEqual([])
    history.read(history.sent(), { left: 1 })
    expect(history.staleReads()).toHaveLength(1)
    expect(history.reads).toBe(2)
  })

  test('an older answer that arrives late does not lower what is known', () => {
    const history = new ReadHistory()
    history.taken({ left: 2 })
    history.taken({ left: 1 })
    history.read(history.sent(), { left: 1 })
    expect(history.staleReads()).toHaveLength(1)
  })
})
