/** Peers that exist for other frameworks than Express, and those frameworks alone: a peer's cost is what it adds to its own. */
import type { AddressInfo } from 'node:net'
import { type BenchField, FIELDS, fieldValue } from './session-data.ts'

/** Listens by itself. */
export interface FrameworkVariant {
  /** Returns its port. */
  listen(): Promise<number>
}

type Fields = Record<string, BenchField>
interface Kept {
  get(name: string): BenchField | undefined
  set(name: string, value: BenchField): void
}

let turn = 0
const constant: Fields = Object.fromEntries(FIELDS.map((name, index) => [name, fieldValue(index, 0)]))
/** A handler without sessions answers from constant data. */
const NO_SESSION: Kept = { get: (name) => constant[name], set: (name, value) => void (constant[name] = value) }

/** What `variants.ts` does with an object of fields. */
const HANDLERS: Readonly<Record<string, (session: Kept) => unknown>> = {
  '/seed': (session) => {
    FIELDS.forEach((name, index) => session.set(name, fieldValue(index, 0)))
    return [0, 0]
  },
  '/read': (session) => [session.get('field0')?.id, session.get('field1')?.turn],
  '/write': (session) => {
    void session.get('field0')?.id
    session.set('field1', fieldValue(1, ++turn))
    return [0, 0]
  },
}

async function fastifyVariant(secret: string | undefined): Promise<FrameworkVariant> {
  const { default: fastify } = await import('fastify')
  const app = fastify()
  if (secret !== undefined) {
    const { default: secureSession } = await import('@fastify/secure-session')
    await app.register(secureSession, { key: Buffer.alloc(32, secret), cookieName: 'secure', cookie: { path: '/', secure: false } })
  }
  for (const [path, handle] of Object.entries(HANDLERS)) {
    app.get(path, (request, reply) => reply.send(handle(secret === undefined ? NO_SESSION : (request.session as unknown as Kept))))
  }
  return {
    async listen() {
      await app.listen({ host: '127.0.0.1', port: 0 })
      return (app.server.address() as AddressInfo).port
    },
  }
}

async function honoVariant(secret: string | undefined): Promise<FrameworkVariant> {
  const { Hono } = await import('hono')
  const { serve } = await import('@hono/node-server')
  const app = new Hono<{ Variables: { session: Kept } }>()
  if (secret !== undefined) {
    const { CookieStore, sessionMiddleware } = await import('hono-sessions')
    const cookieOptions = { sameSite: 'Lax', path: '/', httpOnly: true } as const
    // oxlint-disable-next-line typescript/no-unsafe-argument -- its types are those of its own copy of Hono
    app.use('*', sessionMiddleware({ store: new CookieStore(), encryptionKey: secret, expireAfterSeconds: 3_600, cookieOptions }) as never)
  }
  for (const [path, handle] of Object.entries(HANDLERS)) {
    app.get(path, (context) => context.json(handle(secret === undefined ? NO_SESSION : context.get('session')) as (number | undefined)[]))
  }
  return {
    listen: () =>
      new Promise((resolve) => void serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 }, ({ port }: AddressInfo) => resolve(port))),
  }
}

export const FRAMEWORKS: Readonly<Record<string, (secret: string) => Promise<FrameworkVariant>>> = {
  'bare Fastify': () => fastifyVariant(undefined),
  '@fastify/secure-session': (secret) => fastifyVariant(secret),
  'bare Hono': () => honoVariant(undefined),
  'hono-sessions': (secret) => honoVariant(secret),
}
