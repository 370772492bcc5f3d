import { describe, expect, test } from 'vitest'
import { deriveKeys } from '../../../src/core/keys.ts'
import type { Keys } from '../../../src/seam.ts'
import { createSessions } from '../../../src/sessions.ts'
import { cookieBased } from '../../../src/strategies/cookie-based.ts'
import type { Session, Sessions } from '../../../src/types.ts'
import { atOnce, COOKIE_NAME, CookieWorld, cookieServer, draftOf, jarOf, MINUTE, sessionId } from '../../setup/cookie-world.ts'
import { seededRandom } from '../../setup/virtual-runtime.ts'

type Data = Record<string, unknown>
const SECRET = 'a secret of at least thirty-two bytes'

function server(secrets: string | string[] = SECRET): { sessions: Sessions<Data>; regressed: () => number } {
  let regressed = 0
  const sessions = createSessions<Data>({
    secrets,
    strategy: cookieBased(),
    cookie: { name: 'session', secure: false },
    onEvent: ({ type }) => void (type === 'regressed' && regressed++),
  })
  return { sessions, regressed: () => regressed }
}

type Cookies = [name: string, value: string][]

/** One request with exactly this `Cookie` header; what the browser holds afterwards. */
async function visit(
  sessions: Sessions<Data>,
  cookies: Cookies,
  handle: (session: Session<Data>) => void = () => {},
): Promise<{ data: Data; isNew: boolean; cookies: Cookies; deleted: string[] }> {
  const header = cookies.map(([name, value]) => `${name}=${value}`).join('; ')
  const open = await sessions.open({ method: 'GET', url: '/', header: (name) => (name === 'cookie' && header !== '' ? header : undefined) })
  const { isNew } = open.session
  const data = { ...open.session.data }
  handle(open.session)
  const result = open.needsCommit() ? await open.commit() : open.settle()
  const after = new Map(cookies)
  const deleted: string[] = []
  for (const text of result.cookies) {
    const [pair = ''] = text.split(';')
    const name = pair.slice(0, pair.indexOf('='))
    after.delete(name)
    if (/max-age=0/i.test(text)) deleted.push(name)
    else after.set(name, pair.slice(name.length + 1))
  }
  return { data, isNew, cookies: [...after], deleted }
}

async function jarWith(sessions: Sessions<Data>, data: Data): Promise<Cookies> {
  return (await visit(sessions, [], (session) => void Object.assign(session.data, data))).cookies
}

describe('cookieBased - bad input', () => {
  test('duplicate cookie names: equal ones are one, of two notes the first counts, and a false one there is regressed', async () => {
    const { sessions, regressed } = server()
    const jar = await jarWith(sessions, { a: 1 })
    expect(await visit(sessions, [...jar, ...jar])).toMatchObject({ isNew: false, data: { a: 1 } })
    const [root, note] = jar as [[string, string], [string, string]]
    expect(await visit(sessions, [root, note, [note[0], 'AQ'.repeat(40)]])).toMatchObject({ data: { a: 1 } })
    expect(await visit(sessions, [root, [note[0], 'AQ'.repeat(40)], note])).toMatchObject({ isNew: true, data: {}, deleted: [] })
    expect(regressed()).toBe(1)
  })

  test('cookies tossed from a parent domain: garbage is ignored, a second valid root is trusted as little as the first', async () => {
    const { sessions } = server()
    const victim = await jarWith(sessions, { a: 1 })
    const attacker = await jarWith(sessions, { a: 'mine' })
    const [root, note] = victim as [[string, string], [string, string]]
    expect(await visit(sessions, [['session', 'garbage'], root, note])).toMatchObject({ isNew: false, data: { a: 1 } })
    // Neither the attacker's session nor a mixture of both.
    for (const tossed of [
      [...attacker, ...victim],
      [...victim, ...attacker],
    ])
      expect(await visit(sessions, tossed)).toMatchObject({ isNew: true, data: {} })
    // The attacker's notes beside the victim's root are nothing of the victim's session.
    expect(await visit(sessions, [root, note, attacker[1] as [string, string]])).toMatchObject({ isNew: false, data: { a: 1 } })
  })

  test("another application's cookies are neither read nor deleted, whatever they hold", async () => {
    const { sessions } = server()
    const jar = await jarWith(sessions, { a: 1 })
    const foreign: Cookies = [
      ['session-id', '4711'],
      ['session-', 'x'],
      ['sessions', '{"a":2}'],
      ['SESSION', 'x'],
      ['session-AAAAAAAA-9', 'x'],
      ['other', '%%%"\\,'],
      ['__proto__', 'x'],
    ]
    const after = await visit(sessions, [...foreign, ...jar], (session) => void (session.data.b = 2))
    expect(after).toMatchObject({ isNew: false, data: { a: 1 }, deleted: [] })
    expect(await visit(sessions, after.cookies)).toMatchObject({ data: { a: 1, b: 2 } })
  })

  test('headers that are no cookies at all', async () => {
    const { sessions } = server()
    const random = seededRandom(5)
    for (let turn = 0; turn < 300; turn++) {
      const text = random.bytes(random.between(1, 200)).toString('latin1')
      for (const header of [text, `session=${text}`, `session-AAAAAAAA=${text}`, `;;;session;=;${text}`]) {
        const open = await sessions.open({ method: 'GET', url: '/', header: (name) => (name === 'cookie' ? header : undefined) })
        expect(open.session.isNew).toBe(true)
      }
    }
  })

  test('a key ring without the key of the root: a stranger; without the key of a note: regressed, and whole again where the key is', async () => {
    const old = server('an older secret, long enough to be one')
    const jar = await jarWith(old.sessions, { a: 1 })
    expect(await visit(server(SECRET).sessions, jar)).toMatchObject({ isNew: true, data: {}, deleted: [] })
    expect(await visit(server([SECRET, 'an older secret, long enough to be one']).sessions, jar)).toMatchObject({
      isNew: false,
      data: { a: 1 },
    })

    const clock = { ms: 0 }
    const [first, second] = ['the first secret, long enough to be one', 'the second secret, long enough to be one']
    const [before, both] = [[first], [second, first]].map((secrets) => deriveKeys(secrets as string[], COOKIE_NAME)) as [Keys, Keys]
    const id = sessionId(3)
    const created = atOnce(cookieServer(clock, 1, {}, { keys: both }).create(id, draftOf({ a: '1' })))
    const notes = new Map(created.jar.set.map(({ name, value }) => [name, value]))
    expect(cookieServer(clock, 2, {}, { keys: before }).open(jarOf(id, notes))).toEqual({ outcome: 'regressed', policy: 'serve' })
    expect(atOnce(cookieServer(clock, 3, {}, { keys: both }).open(jarOf(id, notes))).outcome).toBe('found')
  })

  test('a clock that jumps hours back and forth loses no write and expires nobody for good', () => {
    const world = new CookieWorld({ servers: 3 })
    const jumps = [0, -120, 3, 180, -60, 500, -900, 0.1]
    for (let turn = 0; turn < 64; turn++) {
      world.clock.ms = (jumps[turn % jumps.length] as number) * MINUTE
      expect(world.write(turn, { set: { [`f${turn % 5}`]: String(turn) }, add: { n: 1 } }), `turn ${turn}`).toBe(true)
      expect(world.difference(world.open(turn + 1)), `turn ${turn}`).toBeUndefined()
    }
    const before = world.clock.ms
    world.clock.ms = 40 * 24 * 60 * MINUTE
    expect(world.open()).toEqual({ outcome: 'gone', reason: 'expired' })
    world.clock.ms = before
    expect(world.difference(world.open())).toBeUndefined()
  })
})
