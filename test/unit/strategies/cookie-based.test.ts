import { describe, expect, test } from 'vitest'
import { SessionError } from '../../../src/errors.ts'
import type { Opened, Opening } from '../../../src/seam.ts'
import { cookieBased } from '../../../src/strategies/cookie-based.ts'
import {
  atOnce,
  changeOf,
  COOKIE_NAME,
  CookieWorld,
  cookieServer,
  draftOf,
  type Edit,
  jarOf,
  MINUTE,
  sessionId,
} from '../../setup/cookie-world.ts'
import { VIRTUAL_EPOCH } from '../../setup/virtual-runtime.ts'

function found(opening: Opening): Opened {
  if (opening.outcome !== 'found') throw new Error(opening.outcome)
  return opening.opened
}

function codeOf(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    return SessionError.is(error) ? error.code : String(error)
  }
  return 'nothing thrown'
}

/** Bytes of name and value of the cookies an answer sets. */
function cookieBytes(notes: readonly { name: string; value: string }[]): number {
  return notes.reduce((sum, note) => sum + COOKIE_NAME.length + 1 + note.name.length + 1 + note.value.length, 0)
}

const values = (count: number, bytes: number): Record<string, string> =>
  Object.fromEntries(Array.from({ length: count }, (_, index) => [`field${index}`, JSON.stringify('x'.repeat(bytes - 2))]))

describe('cookieBased - options', () => {
  test('only options that work are accepted, all problems together', () => {
    expect(cookieBased().name).toBe('cookieBased')
    expect([...cookieBased({ compress: false, maxHeaderBytes: 5_000 }).capabilities]).toEqual([])
    for (const options of [
      { compress: 'yes' },
      { overflow: {} },
      { revocations: {} },
      { guarded: ['a'] },
      { other: 1 },
      { maxHeaderBytes: 100 },
      null,
    ]) {
      expect(codeOf(() => cookieBased(options as never))).toBe('CONFIG_INVALID')
    }
    expect(() => cookieBased({ overflow: {}, guarded: [] } as never)).toThrow(/overflow must be a session store.*; guarded/)
  })
})

describe('cookieBased - one visitor', () => {
  test('a session created on one server is read and written on another', () => {
    const world = new CookieWorld({ servers: 3, fields: { cart: '[]' } })
    expect(world.write(1, { set: { cart: '["tea"]' }, add: { visits: 2 } })).toBe(true)
    const { record } = found(world.open(2))
    expect([...record.fields()].sort()).toEqual(['cart', 'visits'])
    expect([record.get('cart'), record.get('visits'), record.get('none')]).toEqual(['["tea"]', '2', undefined])
    expect(record.meta.userId).toBe('ada')
    expect(record.bytes).toBe('cart["tea"]visits2'.length)
  })

  test('parallel writes of different fields and of one counter all count', () => {
    const world = new CookieWorld()
    const requests = Array.from({ length: 8 }, (_, index) => world.send(index) as NonNullable<ReturnType<typeof world.send>>)
    const answers = requests.map((request, index) => world.commit(request, { set: { [`f${index}`]: '1' }, add: { n: 1 } }))
    for (const answer of answers.reverse()) world.deliver(answer)
    const { record } = found(world.open())
    expect(record.get('n')).toBe('8')
    expect([...record.fields()].filter((name) => name.startsWith('f'))).toHaveLength(8)
  })

  test('a removed field stays removed, folds and time included', () => {
    const world = new CookieWorld({ fields: { cart: '[]' } })
    world.write(0, { set: { cart: undefined } })
    for (let round = 0; round < 60; round++) {
      world.write(round, { set: { a: String(round) } })
      world.clock.ms += MINUTE
    }
    const { record } = found(world.open())
    expect([record.get('cart'), record.isRemoved('cart'), record.isRemoved('other')]).toEqual([undefined, true, false])
    expect([...record.fields()]).toEqual(['a'])
  })

  test('a request that saves twice sees its own writes, and so does the next one', () => {
    const world = new CookieWorld()
    const request = world.send(0) as NonNullable<ReturnType<typeof world.send>>
    const first = world.commit(request, { set: { a: '1' }, add: { n: 1 } })
    expect(request.opened.record.get('a')).toBe('1')
    const second = world.commit(request, { set: { b: '2' }, add: { n: 1 } })
    expect(found(request.server.reload(request.opened)).record.get('b')).toBe('2')
    world.deliver(second)
    expect(world.open().outcome).toBe('regressed')
    world.deliver(first)
    const { record } = found(world.open(1))
    expect([record.get('a'), record.get('b'), record.get('n')]).toEqual(['1', '2', '2'])
  })

  test('a counter assigned and counted in one request, and one counted on after its removal', () => {
    const world = new CookieWorld({ fields: { n: '5' } })
    world.write(0, { set: { n: '10' }, add: { n: 2 } })
    expect(found(world.open()).record.get('n')).toBe('12')
    world.write(1, { set: { n: undefined } })
    world.write(0, { add: { n: 3 } })
    expect(found(world.open()).record.get('n')).toBe('3')
    world.write(0, { set: { n: '"text"' } })
    const { opened } = world.send(0) as NonNullable<ReturnType<typeof world.send>>
    expect(codeOf(() => world.servers[0]?.write(opened, changeOf({ add: { n: 1 } }, 0)))).toBe('FIELD_INVALID')
  })

  test('a new lifetime shortens the session, and parallel touches merge by maximum', () => {
    const world = new CookieWorld()
    const server = cookieServer(world.clock, 50)
    const end = VIRTUAL_EPOCH + 90 * MINUTE
    const { opened } = world.send(0) as NonNullable<ReturnType<typeof world.send>>
    const change = { ...changeOf({}, VIRTUAL_EPOCH), lifetime: { idleMs: 60 * MINUTE, touchEveryMs: MINUTE, absoluteAt: end } }
    const notes = new Map(world.browser.notes)
    for (const { name, value } of atOnce(server.write(opened, change)).jar.set) notes.set(name, value)
    expect(found(atOnce(server.open(jarOf(world.id, notes)))).record.meta).toMatchObject({
      idleMs: 60 * MINUTE,
      touchEveryMs: MINUTE,
      absoluteAt: end,
    })
    world.clock.ms = 60 * MINUTE - 1
    expect(atOnce(server.open(jarOf(world.id, notes))).outcome).toBe('found')
    world.clock.ms = 60 * MINUTE
    expect(server.open(jarOf(world.id, notes))).toEqual({ outcome: 'gone', reason: 'expired' })
  })

  test('regenerate and logout delete every presented note; a late write of the old id is nothing to the new one', () => {
    const world = new CookieWorld()
    world.write(0, { set: { a: '1' } })
    const slow = world.send(1) as NonNullable<ReturnType<typeof world.send>>
    const { opened } = world.send(0) as NonNullable<ReturnType<typeof world.send>>
    const presented = [...world.browser.notes.keys()]
    const id = sessionId(77)
    const replaced = atOnce((world.servers[0] as ReturnType<typeof cookieServer>).replace(opened, id, () => draftOf({ a: '1' })))
    expect([...replaced.jar.delete].sort()).toEqual([...presented].sort())
    const notes = new Map(replaced.jar.set.map((note) => [note.name, note.value]))
    for (const { name, value } of world.commit(slow, { set: { a: '"late"' } }).jar.set) notes.set(name, value)
    expect(found(atOnce(cookieServer(world.clock, 51).open(jarOf(id, notes)))).record.get('a')).toBe('1')
    expect([...(world.servers[0] as ReturnType<typeof cookieServer>).destroy(opened).delete].sort()).toEqual([...presented].sort())
  })

  test('notes that are none of ours are cleaned away with the next write, notes of an unknown key are not', () => {
    const world = new CookieWorld()
    world.browser.notes.set('junkjunk', 'AQ'.repeat(40))
    const unknown = Buffer.alloc(60)
    unknown[0] = 9
    world.browser.notes.set('unknown1', unknown.toString('base64url'))
    world.browser.notes.set('forged00', [...world.browser.notes.values()][0] as string)
    world.write(0, { set: { a: '1' } })
    expect([...world.browser.notes.keys()]).not.toContain('forged00')
    expect([...world.browser.notes.keys()]).toContain('unknown1')
    expect(found(world.open()).record.get('a')).toBe('1')
  })

  test('a request of more than 8 minutes stores nothing and says so; one of 2 minutes stores, and folds nothing', () => {
    const world = new CookieWorld()
    const server = world.servers[0] as ReturnType<typeof cookieServer>
    for (let round = 0; round < 7; round++) world.write(round, { set: { a: String(round) } })
    for (let round = 0; round < 5; round++) world.write(round, { set: { a: String(round) } })
    const opened = found(world.open())
    world.clock.ms += 2 * MINUTE
    const written = atOnce(server.write(opened, changeOf({ set: { late: '1' } }, VIRTUAL_EPOCH)))
    expect([written.jar.set.length, written.jar.delete.length]).toEqual([1, 0])
    world.clock.ms += 7 * MINUTE
    expect(codeOf(() => server.write(opened, changeOf({ set: { late: '2' } }, VIRTUAL_EPOCH)))).toBe('SESSION_UNAVAILABLE')
  })

  test('a write overlapped by more others than are remembered is reported as lost, and only that write is', () => {
    const world = new CookieWorld()
    const slow = world.send(1) as NonNullable<ReturnType<typeof world.send>>
    for (let round = 0; round < 200; round++) world.write(0, { add: { n: 1 } })
    const before = new Set(world.delivered)
    world.deliver(world.commit(slow, { set: { late: '1' }, add: { n: 1 } }))
    const opening = world.open()
    expect(opening.outcome).toBe('regressed')
    expect(world.difference(opening, before)).toBeUndefined()
    const { opened } = opening as { opened: Opened }
    const waste = (world.servers[0] as ReturnType<typeof cookieServer>).settle(opened)
    for (const name of waste?.delete ?? []) world.browser.notes.delete(name)
    expect(world.difference(world.open(), before)).toBeUndefined()
  })

  test('what cannot work says which strategy can', async () => {
    const server = cookieServer({ ms: 0 }, 1)
    expect(codeOf(() => server.update())).toBe('STRATEGY_UNSUPPORTED')
    expect(codeOf(() => server.get())).toBe('STRATEGY_UNSUPPORTED')
    expect(codeOf(() => server.list())).toBe('STRATEGY_UNSUPPORTED')
    await expect(server.revoke()).rejects.toThrow(/revocations/)
    await expect(server.revokeUser()).rejects.toMatchObject({ code: 'STRATEGY_UNSUPPORTED' })
    expect(server.status().notProtected.length).toBeGreaterThan(2)
  })
})

describe('cookieBased - sizes', () => {
  test('a field written to a large session sets at most 400 bytes of cookies', () => {
    const world = new CookieWorld({ fields: values(27, 90) })
    expect(found(world.open()).record.bytes).toBeGreaterThan(2_500)
    const request = world.send(0) as NonNullable<ReturnType<typeof world.send>>
    const { jar } = world.commit(request, { set: { field3: JSON.stringify('y'.repeat(88)) } })
    expect(jar.delete).toEqual([])
    expect(cookieBytes(jar.set)).toBeLessThanOrEqual(400)
  })

  test('the jar stays small under thousands of writes, however fast they come', () => {
    for (const pause of [0, 1_000, MINUTE]) {
      const world = new CookieWorld({ fields: { cart: '[]' } })
      for (let round = 0; round < 600; round++) {
        expect(world.write(round, { set: { [`f${round % 5}`]: String(round) }, add: { n: 1 } })).toBe(true)
        world.clock.ms += pause
      }
      expect(world.difference(world.open())).toBeUndefined()
      expect(world.biggest).toBeLessThan(5_000)
    }
  })

  test('parallel folds of one set are one note', () => {
    const world = new CookieWorld()
    for (let round = 0; round < 6; round++) world.write(0, { set: { a: String(round) } })
    const requests = [0, 1, 0, 1].map((to) => world.send(to) as NonNullable<ReturnType<typeof world.send>>)
    const answers = requests.map((request, index) => world.commit(request, { add: { n: index } }))
    expect(new Set(answers.map((answer) => answer.jar.set[0]?.name)).size).toBe(1)
    expect(new Set(answers.map((answer) => answer.jar.set[1]?.name)).size).toBe(4)
    for (const answer of answers) world.deliver(answer)
    expect(world.browser.notes.size).toBe(5)
    expect(world.difference(world.open())).toBeUndefined()
  })

  test('over the budget nothing is stored, and the message names the largest fields, never their values', () => {
    const world = new CookieWorld({ fields: { profile: JSON.stringify('p'.repeat(1_500)) } })
    const before = new Map(world.browser.notes)
    const request = world.send(0) as NonNullable<ReturnType<typeof world.send>>
    const edit: Edit = { set: { photo: JSON.stringify('secret'.repeat(800)) } }
    expect(() => world.commit(request, edit)).toThrow(/"photo" 4807 bytes \(written now\), "profile" 1509 bytes/)
    expect(() => world.commit(request, edit)).not.toThrow(/secret/)
    expect(codeOf(() => world.commit(request, edit))).toBe('COOKIE_TOO_LARGE')
    expect(codeOf(() => cookieServer(world.clock, 3).create(sessionId(5), draftOf(values(50, 100))))).toBe('COOKIE_TOO_LARGE')
    expect(world.browser.notes).toEqual(before)
    expect(world.write(0, { set: { a: '1' } })).toBe(true)
  })

  test('large fields can be rewritten again and again: old and new value need not fit side by side', () => {
    const world = new CookieWorld({ fields: {} })
    for (let round = 0; round < 30; round++) {
      const page = JSON.stringify(String(round % 10).repeat(2_300))
      const slower = world.send(round) as NonNullable<ReturnType<typeof world.send>>
      expect(world.write(round, { set: { page } })).toBe(true)
      world.deliver(world.commit(slower, { add: { n: 1 } }))
      const { record } = found(world.open(round + 1))
      expect([record.get('page') === page, record.get('n')]).toEqual([true, String(round + 1)])
      world.clock.ms += 10_000
    }
    // Each answer keeps to 7,000 as it sees the jar; parallel ones add up, and stay far below Node's 16 KB.
    expect(world.biggest).toBeLessThanOrEqual(11_000)
  })

  test('opening a jar that was opened before costs microseconds', () => {
    const world = new CookieWorld({ fields: values(8, 120) })
    for (let round = 0; round < 3; round++) world.write(0, { set: { field0: String(round) } })
    const jars = Array.from({ length: 64 }, () => world.jar())
    const rounds = 50_000
    const server = world.servers[0] as ReturnType<typeof cookieServer>
    for (const jar of jars) void server.open(jar)
    const start = performance.now()
    for (let round = 0; round < rounds; round++) void server.open(jars[round & 63] as (typeof jars)[0])
    const micros = ((performance.now() - start) * 1_000) / rounds
    // One AES opening alone is above 10 µs here; the bound leaves room for a busy machine.
    expect(micros).toBeLessThan(50)
    if (process.env.HOLDFAST_PRINT !== undefined) console.log(`open in steady state: ${micros.toFixed(2)} µs`)
  })
})
