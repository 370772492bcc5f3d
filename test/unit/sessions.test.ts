import * as v from 'valibot'
import { describe, expect, test } from 'vitest'
import { SessionError } from '../../src/errors.ts'
import { createSessions } from '../../src/sessions.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { dedicated } from '../../src/strategies/dedicated.ts'
import { isolated } from '../../src/strategies/isolated.ts'
import { BrowserJar } from '../../src/testing/browser-jar.ts'
import { type Data, request, visit } from '../../src/testing/visit.ts'
import type { BaseOptions, RequestView, SessionEvent, Sessions } from '../../src/types.ts'

const SECRET = 'a secret for tests, long enough to be one'

function start(options: Partial<BaseOptions<Data>> & { initial?: () => Data } = {}): Sessions<Data> {
  return createSessions<Data>({ secrets: SECRET, strategy: isolated(), ...options } as BaseOptions<Data> & { schema?: never })
}

function view(jar: BrowserJar, headers: Record<string, string>, method = 'GET'): RequestView {
  return { method, url: '/', header: (name) => (name === 'cookie' ? jar.header : headers[name]) }
}

async function refusal(run: () => unknown): Promise<SessionError> {
  try {
    await run()
  } catch (error) {
    if (SessionError.is(error)) return error
    throw error
  }
  throw new Error('was not refused')
}

describe('options', () => {
  test('all problems are reported together, in one line each, without the secret', async () => {
    const error = await refusal(() =>
      createSessions({
        secrets: 'too short',
        strategy: isolated(),
        colour: 'red',
        cookie: { name: '__Host-x', path: '/app', sameSite: 'sometimes' },
        lifetime: { idleMs: -1 },
        requires: ['update'],
      } as never),
    )
    expect(error.code).toBe('CONFIG_INVALID')
    for (const part of ['colour: unknown option', '32 bytes', '__Host-', 'sameSite', 'lifetime.idleMs'])
      expect(error.message).toContain(part)
    expect(error.message).not.toContain('too short')
  })

  test.each([undefined, '', [], [undefined]])(
    'without a secret (%j) nothing starts, and the message says how to make one',
    async (secrets) => {
      expect((await refusal(() => createSessions({ secrets, strategy: isolated() }))).message).toMatch(/SESSION_SECRET.*openssl/)
    },
  )

  test('cookies are safe by default', async () => {
    for (const [options, environment, expected] of [
      [{}, 'production', /^__Host-session=[\w-]{55}; Path=\/; HttpOnly; Secure; SameSite=Lax$/],
      [
        { cookie: { domain: 'example.org' } },
        'production',
        /^__Secure-session=[\w-]{55}; Domain=example.org; Path=\/; HttpOnly; Secure; SameSite=Lax$/,
      ],
      [{}, 'test', /^session=[\w-]{55}; Path=\/; HttpOnly; SameSite=Lax$/],
    ] as const) {
      const before = process.env.NODE_ENV
      process.env.NODE_ENV = environment
      try {
        const { cookies } = await request(start(options), new BrowserJar().request(), ({ data }) => void (data.a = 1))
        expect(cookies[0]).toMatch(expected)
      } finally {
        process.env.NODE_ENV = before
      }
    }
  })
})

describe('sessions', () => {
  test('an unknown property of a session is refused by name', async () => {
    await visit(start(), new BrowserJar(), async (session) => {
      const error = await refusal(() => ((session as unknown as Data).cart = ['a']))
      expect([error.code, error.message]).toEqual(['SESSION_PROPERTY_UNKNOWN', 'session.cart is not stored: use session.data.cart.'])
    })
  })

  test('of() without the adapter says what to mount', async () => {
    expect((await refusal(() => start().of({}))).code).toBe('NO_SESSION')
  })

  test('events tell what happened, without id or value', async () => {
    const events: SessionEvent[] = []
    const sessions = start({ node: 'n1', onEvent: (event) => events.push(event) })
    const heard: string[] = []
    const stop = sessions.on('destroyed', (event) => heard.push(event.type))
    const jar = new BrowserJar()
    await visit(sessions, jar, ({ data }) => void (data.secret = 'canary'))
    await visit(sessions, jar, (session) => session.login('ada'))
    const header = jar.header as string
    await visit(sessions, jar, (session) => session.logout())
    stop()
    expect(events.map((event) => event.type)).toEqual(['created', 'replaced', 'regenerated', 'destroyed'])
    expect(heard).toEqual(['destroyed'])
    expect(events.every((event) => event.node === 'n1' && typeof event.at === 'number')).toBe(true)
    const text = JSON.stringify(events)
    expect(text).not.toContain('canary')
    for (const value of header.split(/[=; ]+/).filter((part) => part.length > 20)) expect(text).not.toContain(value)
  })

  test('a listener that throws harms no request', async () => {
    const logged: string[] = []
    const logger = { warn: () => undefined, error: (line: string) => void logged.push(line) }
    const sessions = start({
      logger,
      onEvent: () => {
        throw new Error('mine')
      },
    })
    const jar = new BrowserJar()
    await visit(sessions, jar, ({ data }) => void (data.a = 1))
    expect(await visit(sessions, jar, ({ data }) => data.a)).toBe(1)
    expect(logged[0]).toContain('mine')
  })

  test('changes after the answer are reported as lateWrite, saved ones are stored', async () => {
    const events: string[] = []
    const sessions = start({ onEvent: (event) => events.push(event.type) })
    const jar = new BrowserJar()
    await visit(sessions, jar, ({ data }) => void (data.a = 1))
    for (const save of [false, true]) {
      const open = await sessions.open(jar.request())
      void open.session.data.a
      open.settle()
      open.headSent()
      open.session.data.a = `late ${save}`
      if (save) await open.session.save()
      open.end()
    }
    expect(events.filter((type) => type === 'lateWrite')).toHaveLength(1)
    expect(await visit(sessions, jar, ({ data }) => data.a)).toBe('late true')
  })

  test('after the head a save that needs a cookie is refused', async () => {
    const open = await start().open(new BrowserJar().request())
    open.settle()
    open.headSent()
    open.session.data.a = 1
    expect((await refusal(() => open.session.save())).code).toBe('HEADERS_SENT')
    expect((await refusal(() => open.session.login('ada'))).code).toBe('HEADERS_SENT')
  })

  test('a session over the limit is refused with its largest fields, and keeps what it had', async () => {
    const sessions = start({ limits: { sessionBytes: 1000 } })
    const jar = new BrowserJar()
    await visit(sessions, jar, ({ data }) => void (data.a = 'x'.repeat(900)))
    const error = await refusal(() => visit(sessions, jar, ({ data }) => void (data.big = 'secret'.repeat(40))))
    expect(error.code).toBe('SESSION_TOO_LARGE')
    expect(error.message).toMatch(/a \(903 bytes\), big \(245 bytes\)/)
    expect(error.message).not.toContain('secret')
    expect(await visit(sessions, jar, ({ data }) => Object.keys(data))).toEqual(['a'])
  })

  test('closed sessions refuse, and say so', async () => {
    const sessions = start()
    await sessions.close()
    await sessions.close()
    expect((await refusal(() => sessions.open(new BrowserJar().request()))).code).toBe('SESSIONS_CLOSED')
  })

  test('the commit waits for a save that nobody awaited', async () => {
    const sessions = start()
    const jar = new BrowserJar()
    await visit(sessions, jar, (session) => {
      session.data.a = 1
      void session.save()
      session.data.b = 2
    })
    expect(await visit(sessions, jar, ({ data }) => ({ ...data }))).toEqual({ a: 1, b: 2 })
  })
})

describe('while a save is under way', () => {
  /** Answers a little later, as a store does. */
  async function during(before: (data: Data, add: (by: number) => void) => void, then: (data: Data) => void): Promise<unknown> {
    const sessions = start({ strategy: dedicated({ store: memoryStore() }), initial: () => ({ c: 0 }) })
    const jar = new BrowserJar()
    await visit(sessions, jar, ({ data }) => Object.assign(data, { a: 1, n: 0 }))
    await visit(sessions, jar, async (session) => {
      before(session.data, (by) => session.add('n', by))
      const saving = session.save()
      then(session.data)
      await saving
    })
    const seen = await visit(sessions, jar, ({ data }) => ({ ...data }))
    await sessions.close()
    return seen
  }

  test.each([
    [
      'a counter that is then assigned',
      (_: Data, add: (by: number) => void) => add(1),
      (data: Data) => (data.n = 100),
      { a: 1, c: 0, n: 100 },
    ],
    ['a counter that is then removed', (_: Data, add: (by: number) => void) => add(1), (data: Data) => delete data.n, { a: 1, c: 0 }],
    ['a value that is then removed', (data: Data) => void (data.b = 5), (data: Data) => delete data.b, { a: 1, c: 0, n: 0 }],
    ['a field that is removed and set again', (data: Data) => void delete data.a, (data: Data) => (data.a = 1), { a: 1, c: 0, n: 0 }],
  ])('%s keeps what came last', async (_name, before, then, expected) => {
    expect(await during(before, then)).toEqual(expected)
  })

  test('a save during the commit counts nothing twice', async () => {
    const sessions = start({ strategy: dedicated({ store: memoryStore() }) })
    const jar = new BrowserJar()
    await visit(sessions, jar, ({ data }) => void (data.n = 0))
    const open = await sessions.open(view(jar, {}))
    open.session.add('n', 1)
    const committed = open.commit()
    await Promise.all([committed, open.session.save()])
    open.end()
    expect(await visit(sessions, jar, ({ data }) => data.n)).toBe(1)
    await sessions.close()
  })
})

describe('a new id', () => {
  test('a session over the limit is refused at login, too', async () => {
    const sessions = start({ limits: { sessionBytes: 2_000 } })
    const jar = new BrowserJar()
    const refused = await refusal(() =>
      visit(sessions, jar, async (session) => {
        session.data.big = 'x'.repeat(9_000)
        await session.login('ada')
      }),
    )
    expect(refused.code).toBe('SESSION_TOO_LARGE')
  })

  test('a removed default stays removed', async () => {
    const sessions = start({ initial: () => ({ cart: [1], gone: 1 }) })
    const jar = new BrowserJar()
    await visit(sessions, jar, ({ data }) => void delete data.gone)
    await visit(sessions, jar, async (session) => {
      delete session.data.cart
      await session.regenerate()
    })
    expect(await visit(sessions, jar, ({ data }) => ({ ...data }))).toEqual({})
  })

  test('regenerate keeps a lifetime that a parallel request has set', async () => {
    const sessions = start({ strategy: dedicated({ store: memoryStore() }) })
    const jar = new BrowserJar()
    await visit(sessions, jar, ({ data }) => void (data.a = 1))
    await visit(sessions, jar, async (session) => {
      await visit(sessions, jar.copy(), (other) => other.setLifetime({ idleMs: 120_000 }))
      await session.regenerate()
    })
    const left = await visit(sessions, jar, (session) => session.expiresAt - Date.now())
    expect(left).toBeLessThanOrEqual(120_000)
    await sessions.close()
  })
})

describe('the cost of a commit', () => {
  const encoded: string[] = []
  const codec = {
    encode: (value: unknown, field: string): string => (encoded.push(field), JSON.stringify(value)),
    decode: (text: string): unknown => JSON.parse(text),
  }

  test('each field that was touched is encoded once, the others never', async () => {
    const sessions = start({ codec })
    const jar = new BrowserJar()
    await visit(sessions, jar, ({ data }) => Object.assign(data, { read: { n: 1 }, written: { n: 1 }, untouched: { n: 1 } }))
    const open = await sessions.open(view(jar, {}))
    const data = open.session.data as Record<string, { n: number }>
    ;(data.written as { n: number }).n += (data.read as { n: number }).n
    encoded.length = 0
    expect(open.needsCommit()).toBe(true)
    await open.commit()
    open.headSent()
    open.end()
    expect(encoded.sort()).toEqual(['read', 'written'])
    await sessions.close()
  })

  test('what is changed between the look and a later commit is stored all the same', async () => {
    const sessions = start()
    const jar = new BrowserJar()
    await visit(sessions, jar, ({ data }) => Object.assign(data, { cart: ['kelp'] }))
    const open = await sessions.open(view(jar, {}))
    const { cart } = open.session.data as unknown as { cart: string[] }
    cart.push('limpet')
    expect(open.needsCommit()).toBe(true)
    await Promise.resolve()
    cart.push('barnacle')
    await open.commit()
    cart.push('whelk')
    await open.session.save()
    open.end()
    const [shown] = await visit(sessions, jar, ({ data }) => [(data as unknown as { cart: string[] }).cart])
    expect(shown).toEqual(['kelp', 'limpet', 'barnacle', 'whelk'])
    await sessions.close()
  })
})

describe('cross-site requests', () => {
  const cases = [
    ['POST', { 'sec-fetch-site': 'cross-site' }, true],
    ['POST', { 'sec-fetch-site': 'same-origin' }, false],
    ['POST', { 'sec-fetch-site': 'none' }, false],
    ['GET', { 'sec-fetch-site': 'cross-site' }, false],
    ['GET', { 'sec-fetch-site': 'cross-site', upgrade: 'websocket' }, true],
    ['POST', { origin: 'https://evil.example', host: 'shop.example' }, true],
    ['POST', { origin: 'null', host: 'shop.example' }, true],
    ['POST', { origin: 'https://shop.example', host: 'shop.example' }, false],
    ['POST', {}, false],
  ] as const

  test.each(cases)('%s with %j is refused: %s', async (method, headers, refused) => {
    const jar = new BrowserJar()
    const refusing = start()
    await visit(refusing, jar, ({ data }) => void (data.a = 1))
    const outcome = await refusing.open(view(jar, headers, method)).then(
      () => 'opened',
      (error: SessionError) => error.code,
    )
    expect(outcome).toBe(refused ? 'CROSS_SITE_REFUSED' : 'opened')
    const allowing = start({ crossSite: 'allow' })
    expect((await allowing.open(view(jar, headers, method))).session.isNew).toBe(true)
    expect((await refusing.open(view(new BrowserJar(), headers, method))).session.isNew).toBe(true)
  })
})

describe('records that do not fit', () => {
  const schema = v.object({ n: v.number(), theme: v.optional(v.string(), 'light') })

  test('the schema checks at commit: nothing is stored, and no value is named', async () => {
    const sessions = createSessions({ secrets: SECRET, strategy: isolated(), schema })
    const jar = new BrowserJar()
    await visit(sessions as never, jar, ({ data }) => void (data.n = 1))
    const error = await refusal(() => visit(sessions as never, jar, ({ data }) => void (data.n = 'canary')))
    expect(error.code).toBe('FIELD_INVALID')
    expect(error.message).toContain('"n"')
    expect(error.message).not.toContain('canary')
    expect(await visit(sessions as never, jar, ({ data }) => ({ ...data }))).toEqual({ n: 1, theme: 'light' })
  })

  /** Both share one store of records: what one wrote without a schema, the other reads with one. */
  async function stored(onInvalid: BaseOptions<Data>['onInvalid']) {
    const shared = isolated()
    let running: ReturnType<typeof shared.start> | undefined
    const strategy = { ...shared, start: (context: Parameters<typeof shared.start>[0]) => (running ??= shared.start(context)) }
    const loose = createSessions<Data>({ secrets: SECRET, strategy })
    const events: SessionEvent[] = []
    const strict = createSessions({
      secrets: SECRET,
      strategy,
      schema,
      onInvalid,
      onEvent: (event: SessionEvent) => events.push(event),
    } as never) as unknown as Sessions<Data>
    const jar = new BrowserJar()
    await visit(loose, jar, ({ data }) => void (data.n = 'not a number'))
    return { loose, strict, jar, events }
  }

  test('fail: 500 that names the key, nobody logged out, the record kept', async () => {
    const { loose, strict, jar, events } = await stored('fail')
    const error = await refusal(() => visit(strict, jar, ({ data }) => data.n))
    expect([error.code, error.status]).toEqual(['STORE_RECORD_INVALID', 500])
    expect(error.message).toContain(events[0]?.key as string)
    expect(events.map((event) => event.type)).toEqual(['invalid'])
    expect(await visit(loose, jar, ({ data }) => data.n)).toBe('not a number')
  })

  test('new: the visitor starts afresh, the record is kept', async () => {
    const { loose, strict, jar } = await stored('new')
    const old = jar.copy()
    expect(await visit(strict, jar, (session) => session.isNew)).toBe(true)
    await visit(strict, jar, ({ data }) => void (data.n = 5))
    expect(await visit(strict, jar, ({ data }) => data.n)).toBe(5)
    expect(await visit(loose, old, ({ data }) => data.n)).toBe('not a number')
  })

  test('a function repairs it, and the repair is stored', async () => {
    const { loose, strict, jar } = await stored(async (raw) => ({ n: JSON.parse((raw as { n: string }).n).length as number }))
    expect(await visit(strict, jar, ({ data }) => data.n)).toBe(12)
    expect(await visit(loose, jar, ({ data }) => data.n)).toBe(12)
  })
})

describe('a Secure cookie over plain HTTP', () => {
  const server = (warnings: string[], environment: Partial<BaseOptions<Data>> = { cookie: { secure: true } }): Sessions<Data> =>
    start({ ...environment, logger: { warn: (message: unknown) => void warnings.push(String(message)), error: () => {} } })

  test('sessions that never come back are warned of once, with what to do', async () => {
    const warnings: string[] = []
    const sessions = server(warnings)
    for (let count = 0; count < 50; count++) await visit(sessions, new BrowserJar(), (session) => void (session.data.n = 1))
    expect(warnings).toEqual([expect.stringMatching(/no cookie came back.*https.*secure: false/)])
  })

  test('one cookie that comes back is enough, and cookies that are not Secure are not watched', async () => {
    const warnings: string[] = []
    const sessions = server(warnings)
    const jar = new BrowserJar()
    for (let count = 0; count < 2; count++) await visit(sessions, jar, (session) => void (session.data.n = count))
    for (let count = 0; count < 50; count++) await visit(sessions, new BrowserJar(), (session) => void (session.data.n = 1))
    const plain = server(warnings, { cookie: { secure: false } })
    for (let count = 0; count < 50; count++) await visit(plain, new BrowserJar(), (session) => void (session.data.n = 1))
    expect(warnings).toEqual([])
  })
})
