import type { Runtime, Timer } from '../seam.ts'
import type { RedisAddress } from './redis-address.ts'
import { ask } from './redis-ask.ts'
import { discard, messageOf, problemOf, RedisOutage } from './redis-driver.ts'
import type { RedisClientLike, RedisDriver } from './redis-driver.ts'
import { redisEchoes } from './redis-echoes.ts'
import type { RedisEchoes } from './redis-echoes.ts'
import { waitingList } from './redis-waiting.ts'

export interface RedisConnection {
  /** The last problem, as a few words without anything secret. */
  readonly problem: string
  /** It was closed a moment ago and the first attempt to replace it is under way. */
  readonly isReplacing: boolean
  /** Undefined while there is no usable connection. */
  client(): RedisClientLike | undefined
  /** True once usable; false when an attempt failed, or that took longer. */
  whenReady(ms: number): Promise<boolean>
  /** `client` is not the server that was wanted: replace it. */
  renew(client: RedisClientLike, problem: string): void
  /** A command got no answer for so long: the connection may be dead. */
  missed(client: RedisClientLike, waitedMs: number): void
  /** From now on and on every later connection. */
  track(): void
  /** The reply, once all that was changed before it has been announced; undefined: that cannot be known. `probe`: see `RedisEchoes`. Never rejects. */
  confirm(command: string[], probe: string): Promise<unknown>
  /** See `RedisEchoes`; undefined while nothing is to be announced. */
  expectEcho(): ((names: readonly string[]) => void) | undefined
  close(): void
}

export interface ConnectionListener {
  readonly runtime: Runtime
  readonly deadlineMs: number
  up(): void
  down(problem: string): void
  /** Only while tracking. */
  changed(name: string): void
  /** Announcements may have been missed. */
  lost(): void
  /** The server refuses to track: it works without. */
  cannotTrack(): void
}

export interface ConnectionPlan {
  readonly driver: RedisDriver
  /** Where to connect: asked anew for every attempt. */
  find(): Promise<RedisAddress>
  options(address: RedisAddress): ClientOptions
  /** What is wrong with this server, in a word; undefined: it is the one that was wanted. */
  check?(client: RedisClientLike): Promise<string | undefined>
}

export type ClientOptions = NonNullable<Parameters<RedisDriver['createClient']>[0]>

const REPLACE_WITHIN_MS = 25
const FIRST_BACKOFF_MS = 50
/** A server that is back is used again within a second. */
const LONGEST_BACKOFF_MS = 600
const HANDSHAKE_MS = 5_000

/**
 * One client per connection, and reconnecting is ours: the driver neither bounds a command in flight nor its handshake, and
 * its idle timer closes a client for good.
 */
export function ownConnection(plan: ConnectionPlan, listener: ConnectionListener): RedisConnection {
  const { runtime } = listener
  const waiting = waitingList(runtime)
  /** Counts attempts: what belongs to an earlier one is not heard any more. */
  let life = 0
  let current: ReturnType<typeof create> | undefined
  let usable: RedisClientLike | undefined
  let problem = 'no answer'
  let failures = 0
  let next: Timer | undefined
  let handshake: Timer | undefined
  let closed = false
  let isReplacing = false
  let wantsTracking = false
  let maySubscribe = true
  let isTracking = false
  let echoes = newEchoes(0)

  function create(address: RedisAddress): ReturnType<RedisDriver['createClient']> {
    return plan.driver.createClient({ ...plan.options(address), emitInvalidate: maySubscribe } as ClientOptions) as ReturnType<
      RedisDriver['createClient']
    >
  }

  function newEchoes(mine: number): RedisEchoes {
    return redisEchoes(runtime, (name) => mine === life && listener.changed(name))
  }

  function connect(): void {
    life += 1
    const mine = life
    echoes = newEchoes(mine)
    next = undefined
    handshake = runtime.setTimer(HANDSHAKE_MS, () => lost(mine, 'no answer'))
    attempt(mine).catch((error: unknown) => lost(mine, problemOf(error)))
  }

  async function attempt(mine: number): Promise<void> {
    const address = await plan.find()
    if (mine !== life) return
    const client = create(address)
    current = client
    // Before it is usable, what is wrong rejects `connect`.
    client.on('error', (error: unknown) => client === usable && lost(mine, problemOf(error)))
    client.on('end', () => client === usable && lost(mine, 'connection closed'))
    client.on('invalidate', (name: unknown) => {
      if (mine === life) announce(name)
    })
    try {
      await client.connect()
      await adjustTracking(client, true)
    } catch (error) {
      if (mine !== life || !maySubscribe || !isRefusal(error)) throw error
      // Perhaps only its tracking is refused: then it is used without.
      maySubscribe = false
      current = undefined
      discard(client)
      await attempt(mine)
      if (mine === life) listener.cannotTrack()
      return
    }
    const wrong = await plan.check?.(client)
    if (wrong !== undefined) throw new RedisOutage(wrong)
    if (mine === life) ready(client)
  }

  /** The driver switches tracking on, also while nobody listens. */
  async function adjustTracking(client: RedisClientLike, isFirst: boolean): Promise<void> {
    isTracking = wantsTracking && maySubscribe
    if (isTracking && !isFirst) await client.sendCommand(['CLIENT', 'TRACKING', 'ON'])
    if (!isTracking && isFirst && maySubscribe) await client.sendCommand(['CLIENT', 'TRACKING', 'OFF'])
  }

  function announce(name: unknown): void {
    if (name === null || name === undefined) listener.lost()
    else echoes.announced(String(name))
  }

  function ready(client: RedisClientLike): void {
    handshake?.cancel()
    usable = client
    failures = 0
    isReplacing = false
    listener.up()
    waiting.wake()
  }

  function lost(mine: number, why: string, isStalled = false): void {
    if (mine !== life || closed) return
    const dead = current
    // A closed connection is no outage yet; one that cannot be replaced, or does not answer, is.
    const wasUsable = usable !== undefined
    isReplacing = wasUsable && !isStalled
    life += 1
    current = undefined
    usable = undefined
    isTracking = false
    problem = why
    handshake?.cancel()
    if (wasUsable) listener.lost()
    if (!isReplacing) listener.down(why)
    next = runtime.setTimer(backoff(), connect)
    waiting.wake()
    // Last, because it rejects what was in flight.
    discard(dead)
  }

  function backoff(): number {
    const jitter = (runtime.randomBytes(1)[0] as number) / 256
    if (isReplacing) return jitter * REPLACE_WITHIN_MS
    const most = Math.min(FIRST_BACKOFF_MS * 2 ** failures, LONGEST_BACKOFF_MS)
    failures = Math.min(failures + 1, 10)
    return most * (0.5 + jitter / 2)
  }

  const self: RedisConnection = {
    get problem(): string {
      return problem
    },
    get isReplacing(): boolean {
      return isReplacing
    },
    client: () => (usable?.isReady === true ? usable : undefined),
    whenReady: (ms) => waiting.wait(ms, () => usable?.isReady === true),
    renew(client, why): void {
      if (client === usable) lost(life, why, true)
    },
    missed(client, waitedMs): void {
      // The last part of a deadline alone proves nothing.
      if (client === usable && waitedMs >= listener.deadlineMs / 2) lost(life, 'no answer', true)
    },
    track(): void {
      if (wantsTracking) return
      wantsTracking = true
      const mine = life
      if (usable !== undefined) adjustTracking(usable, false).catch((error: unknown) => lost(mine, problemOf(error)))
    },
    async confirm(command, probe): Promise<unknown> {
      const mine = life
      const { passed, learn } = echoes
      if (!isTracking || usable === undefined) return undefined
      learn(usable, probe)
      try {
        // Replies and announcements come in the order in which things happened.
        const reply = await ask(self, command, listener.deadlineMs, runtime)
        await passed()
        return mine === life ? reply : undefined
      } catch {
        return undefined
      }
    },
    expectEcho: () => (isTracking ? echoes.expect() : undefined),
    close(): void {
      closed = true
      life += 1
      next?.cancel()
      handshake?.cancel()
      usable = undefined
      discard(current)
      current = undefined
      waiting.wake()
    },
  }
  connect()
  return self
}

/** The server answered, and said no: to a permission, or to a command it does not know. */
function isRefusal(error: unknown): boolean {
  return /^(NOPERM|ERR) /.test(messageOf(error))
}
