/** Each way to keep a session, as an Express middleware and the two handlers that are measured. */
import { createHash } from 'node:crypto'
import type { Express, Request, RequestHandler, Response } from 'express'
import type { Store } from 'express-session'
import { FRAMEWORKS, type FrameworkVariant } from './framework-peers.ts'
import { type BenchField, FIELDS, fieldValue } from './session-data.ts'
import type { StoreKind } from './stores.ts'

export interface VariantOptions {
  /** Of the store that the variant needs. */
  readonly storeUrl: string
  readonly port: number
  readonly peers: readonly string[]
  readonly meshPort: number
  readonly node: string
}

export interface Variant {
  mount(app: Express): void
  ready(): Promise<void>
}

const SECRET = 'a secret of the benchmark, long enough'
type Fields = Record<string, BenchField>

let turn = 0
const fill = (data: Fields): void => FIELDS.forEach((name, index) => void (data[name] = fieldValue(index, 0)))
const readTwo = (data: Fields, response: Response): void => void response.json([data.field0?.id, data.field1?.turn])
function writeOne(data: Fields): void {
  void data.field0?.id
  data.field1 = fieldValue(1, ++turn)
}

function routes(app: Express, middleware: RequestHandler | undefined, dataOf: (request: Request) => Fields): void {
  if (middleware !== undefined) app.use(middleware)
  app.get('/seed', (request, response) => {
    fill(dataOf(request))
    response.json([0, 0])
  })
  app.get('/read', (request, response) => readTwo(dataOf(request), response))
  app.get('/write', (request, response) => {
    const data = dataOf(request)
    writeOne(data)
    response.json([0, 0])
  })
}

/** The framework alone: the same answer from constant data. */
function bare(): Variant {
  const data: Fields = {}
  fill(data)
  return { mount: (app) => routes(app, undefined, () => data), ready: async () => undefined }
}

/** The least any session can cost: one hash, one Map lookup, parsing the two fields that the handler touches. */
function floor(): Variant {
  const records = new Map<string, Map<string, string>>()
  const keyOf = (cookie: string): string => createHash('sha256').update(cookie).digest('base64url')
  const one = (request: Request, response: Response, write: boolean): void => {
    const record = records.get(keyOf(request.headers.cookie ?? ''))
    const data: Fields = {}
    for (const name of ['field0', 'field1']) data[name] = JSON.parse(record?.get(name) ?? '{}') as BenchField
    if (write) {
      writeOne(data)
      record?.set('field1', JSON.stringify(data.field1))
    }
    readTwo(data, response)
  }
  return {
    mount(app) {
      app.get('/seed', (_request, response) => {
        const cookie = `s=${String(Math.random())}`
        records.set(keyOf(cookie), new Map(FIELDS.map((name, index) => [name, JSON.stringify(fieldValue(index, 0))])))
        response.setHeader('set-cookie', cookie)
        response.json([0, 0])
      })
      app.get('/read', (request, response) => one(request, response, false))
      app.get('/write', (request, response) => one(request, response, true))
    },
    ready: async () => undefined,
  }
}

const dist = (file: string): string => new URL(`../dist/${file}`, import.meta.url).href

async function holdfast(name: string, options: VariantOptions): Promise<Variant> {
  const root = (await import(dist('index.js'))) as typeof import('../src/index.ts')
  const { expressSessions } = (await import(dist('adapters/express.js'))) as typeof import('../src/adapters/express.ts')
  const { tcpTransport } = (await import(dist('transports/tcp.js'))) as typeof import('../src/transports/tcp.ts')
  const { redisStore } = (await import(dist('stores/redis.js'))) as typeof import('../src/stores/redis.ts')
  const { postgresStore } = (await import(dist('stores/postgres.js'))) as typeof import('../src/stores/postgres.ts')
  const { memcachedStore } = (await import(dist('stores/memcached.js'))) as typeof import('../src/stores/memcached.ts')
  const url = options.storeUrl
  const transport = () =>
    tcpTransport({ cluster: name, secrets: SECRET, port: options.meshPort, host: '127.0.0.1', peers: [...options.peers] })
  const strategies: Record<string, () => Parameters<typeof root.createSessions>[0]['strategy']> = {
    isolated: () => root.isolated(),
    replication: () => root.replication({ transport: transport(), acks: 1 }),
    affinity: () => root.affinity({ transport: transport(), backups: 1 }),
    cookieBased: () => root.cookieBased({}),
    'dedicated (Redis)': () => root.dedicated({ store: redisStore({ url }) }),
    'dedicated (PostgreSQL)': () => root.dedicated({ store: postgresStore({ url }) }),
    'dedicated (Memcached)': () => root.dedicated({ store: memcachedStore({ url }) }),
  }
  const strategy = strategies[name]
  if (strategy === undefined) throw new Error(`no variant ${name}`)
  const sessions = root.createSessions<Fields>({
    secrets: SECRET,
    strategy: strategy(),
    node: options.node,
    cookie: { secure: false, name: 'session' },
    // The load generator takes no cookies: a browser would have taken the touched note, and not made it due again.
    lifetime: { touchEveryMs: 30 * 60_000 },
  })
  return { mount: (app) => routes(app, expressSessions(sessions), (request) => sessions.of(request).data), ready: () => sessions.ready() }
}

async function expressSession(store: Store, ready: () => Promise<void>): Promise<Variant> {
  const { default: session } = await import('express-session')
  const middleware = session({ store, secret: SECRET, resave: false, saveUninitialized: false, cookie: { secure: false } })
  return { mount: (app) => routes(app, middleware, (request) => request.session as unknown as Fields), ready }
}

async function connectRedis(options: VariantOptions): Promise<Variant> {
  const { RedisStore } = await import('connect-redis')
  const { createClient } = await import('redis')
  const client = createClient({ url: options.storeUrl })
  client.on('error', (error) => console.error(error))
  return expressSession(new RedisStore({ client }), async () => void (await client.connect()))
}

async function connectPostgres(options: VariantOptions): Promise<Variant> {
  const { default: session } = await import('express-session')
  const { default: connect } = await import('connect-pg-simple')
  const PostgresStore = connect(session)
  return expressSession(new PostgresStore({ conString: options.storeUrl, createTableIfMissing: true }), async () => undefined)
}

async function connectMemcached(options: VariantOptions): Promise<Variant> {
  const { default: session } = await import('express-session')
  // It brings no types.
  const name: string = 'connect-memcached'
  const { default: connect } = (await import(name)) as { default: (from: typeof session) => new (options: { hosts: string[] }) => Store }
  const MemcachedStore = connect(session)
  return expressSession(new MemcachedStore({ hosts: [new URL(options.storeUrl).host] }), async () => undefined)
}

async function ironSession(): Promise<Variant> {
  const { getIronSession } = await import('iron-session')
  const open = (request: Request, response: Response) =>
    getIronSession<Record<string, BenchField>>(request, response, {
      cookieName: 'iron',
      password: SECRET,
      cookieOptions: { secure: false },
    }) as Promise<unknown> as Promise<Fields & { save(): Promise<void> }>
  return {
    mount(app) {
      app.get('/seed', async (request, response) => {
        const session = await open(request, response)
        fill(session)
        await session.save()
        response.json([0, 0])
      })
      app.get('/read', async (request, response) => readTwo(await open(request, response), response))
      app.get('/write', async (request, response) => {
        const session = await open(request, response)
        writeOne(session)
        await session.save()
        response.json([0, 0])
      })
    },
    ready: async () => undefined,
  }
}

/** Signed, not sealed: whoever has the cookie can read it. */
async function cookieSession(): Promise<Variant> {
  const { default: session } = await import('cookie-session')
  const middleware = session({ name: 'cookie-session', keys: [SECRET], secure: false })
  return { mount: (app) => routes(app, middleware, (request) => request.session as unknown as Fields), ready: async () => undefined }
}

export interface VariantShape {
  readonly servers: number
  readonly store?: StoreKind
  /** The framework alone that it is measured over, where that is not Express. */
  readonly bare?: string
}

/** Two servers where the strategy copies between servers: the CPU of both is counted. */
export const VARIANTS: Readonly<Record<string, VariantShape>> = {
  bare: { servers: 1 },
  floor: { servers: 1 },
  isolated: { servers: 1 },
  replication: { servers: 2 },
  affinity: { servers: 2 },
  cookieBased: { servers: 1 },
  'dedicated (Redis)': { servers: 1, store: 'redis' },
  'dedicated (PostgreSQL)': { servers: 1, store: 'postgres' },
  'dedicated (Memcached)': { servers: 1, store: 'memcached' },
  'express-session + connect-redis': { servers: 1, store: 'redis' },
  'express-session + connect-pg-simple': { servers: 1, store: 'postgres' },
  'express-session + connect-memcached': { servers: 1, store: 'memcached' },
  'iron-session': { servers: 1 },
  'cookie-session': { servers: 1 },
  'bare Fastify': { servers: 1 },
  '@fastify/secure-session': { servers: 1, bare: 'bare Fastify' },
  'bare Hono': { servers: 1 },
  'hono-sessions': { servers: 1, bare: 'bare Hono' },
}

const PEERS: Readonly<Record<string, (options: VariantOptions) => Promise<Variant>>> = {
  'iron-session': ironSession,
  'cookie-session': cookieSession,
  'express-session + connect-redis': connectRedis,
  'express-session + connect-pg-simple': connectPostgres,
  'express-session + connect-memcached': connectMemcached,
}

export async function createVariant(name: string, options: VariantOptions): Promise<Variant | FrameworkVariant> {
  const framework = FRAMEWORKS[name]
  if (framework !== undefined) return framework(SECRET)
  if (name === 'bare') return bare()
  if (name === 'floor') return floor()
  return PEERS[name]?.(options) ?? holdfast(name, options)
}
