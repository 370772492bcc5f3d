import { expiresAt, notNumber, summaryOf } from '../core/stored-record.ts'
import { SessionError } from '../errors.ts'
import type { Draft, PatchResult, SessionStore, StoreContext, StoredRecord, StorePatch, Timer } from '../seam.ts'
import type { SessionSummary } from '../types.ts'
import { availability, recordInvalid, unavailable } from './availability.ts'
import { redisClock } from './redis-clock.ts'
import { givenConnection, loadDriver, ownConnection, problemOf } from './redis-connection.ts'
import type { RedisConnection } from './redis-connection.ts'
import { checkedRedisOptions } from './redis-options.ts'
import type { RedisStoreOptions, RedisTarget } from './redis-options.ts'
import {
  hasWholeMeta,
  packMark,
  packRecord,
  packText,
  packUser,
  packValue,
  unpackMeta,
  unpackRecord,
  unpackUser,
  userHash,
  wholeMs,
} from './redis-record.ts'
import { CREATE, DESTROY, PATCH, REPLACE } from './redis-scripts.ts'
import type { RedisScript } from './redis-scripts.ts'
import type { GoneMark } from './row.ts'

export type { RedisStoreOptions, RedisTarget } from './redis-options.ts'
export type { RedisClientLike } from './redis-connection.ts'

const PAGE = 200
const BEGINNING = 512
const REPLACING_MS = 250
const MEASURE_EVERY_MS = 60_000

/**
 * Keeps sessions in Redis (6.2 or newer) or Valkey, one string each (`@redis/client` 6 is an optional peer, loaded by `ready()`). Rejects with
 * STORE_UNAVAILABLE within the deadline while Redis cannot be reached, and comes back by itself. A write that was answered
 * 503 may still have been stored: retry it with its write id. A client of your own stays open at the end.
 */
export function redisStore(target: RedisTarget, options: RedisStoreOptions = {}): SessionStore {
  const { url, client: ownClient, prefix, shown } = checkedRedisOptions(target, options)
  const users = availability('redisStore')
  let connection: RedisConnection | undefined
  let connecting: Promise<void> | undefined
  let measuring: Timer | undefined
  const clock = redisClock()

  const sessionKey = (key: string): string => `${prefix}:s:${key}`
  const userKey = (userId: string): string => `${prefix}:u:${userHash(userId)}`

  async function connect(context: StoreContext): Promise<void> {
    const { runtime, deadlineMs } = context
    const listener = { runtime, deadlineMs, up: onUp, down: (why: string) => users.set('down', unreachable(why).message) }
    if (ownClient !== undefined) connection = givenConnection(ownClient, listener)
    else connection = ownConnection(await loadDriver(), url as string, listener)
  }

  function onUp(): void {
    users.set('up', shown)
    measureClock().catch(() => {})
  }

  function unreachable(why: string): SessionError {
    const advice = ADVICE[why] ?? 'start it, or correct the url of redisStore'
    return unavailable(`cannot reach Redis at ${shown} (${why}): ${advice}`)
  }

  /** The deadline is ours: the driver's does not bound a command in flight. */
  async function send(args: string[]): Promise<unknown> {
    const { runtime, deadlineMs } = users.context()
    const open = connection
    // A connection that was just closed is replaced within milliseconds: worth a short wait, unlike an outage.
    if (open?.isReplacing === true) await open.whenReady(Math.min(deadlineMs, REPLACING_MS))
    const client = open?.client()
    if (open === undefined || client === undefined) throw unreachable(open?.problem ?? 'not connected yet')
    return new Promise((resolve, reject) => {
      let late = false
      const miss = (): void => {
        if (!late) return
        open.stalled(client)
        reject(unreachable('no answer'))
      }
      // A server that was itself stalled first reads what has arrived: the timer fires before the sockets are polled.
      const timer = runtime.setTimer(deadlineMs, () => {
        late = true
        runtime.defer(miss)
      })
      const settle = (end: () => void): void => {
        timer.cancel()
        late = false
        end()
      }
      client.sendCommand(args).then(
        (reply) => settle(() => resolve(reply)),
        (error: unknown) => settle(() => reject(error)),
      )
    })
  }

  async function command(args: string[]): Promise<unknown> {
    try {
      const reply = await send(args)
      users.set('up', shown)
      return reply
    } catch (error) {
      throw SessionError.is(error) ? error : failure(error)
    }
  }

  function failure(error: unknown): SessionError {
    if (/WRONGTYPE/.test(messageOf(error))) return recordInvalid('redisStore', 'unknown')
    return unreachable(problemOf(error))
  }

  async function run({ sha1, text }: RedisScript, keys: string[], args: string[]): Promise<unknown> {
    const rest = [String(keys.length), ...keys, ...args]
    try {
      const reply = await send(['EVALSHA', sha1, ...rest])
      users.set('up', shown)
      return reply
    } catch (error) {
      if (SessionError.is(error)) throw error
      if (!messageOf(error).startsWith('NOSCRIPT')) throw failure(error)
      return command(['EVAL', text, ...rest])
    }
  }

  async function measureClock(): Promise<void> {
    const { runtime } = users.context()
    measuring?.cancel()
    measuring = runtime.setTimer(MEASURE_EVERY_MS, () => void measureClock().catch(() => {}))
    const askedAt = runtime.now()
    clock.set(await command(['TIME']), askedAt, runtime)
  }

  function draftArgs(key: string, given: Draft, writeId: string): string[] {
    const now = clock.toStore(users.context().runtime.now())
    const draft = clock.draftToStore(given)
    const { meta } = draft
    const ends = [now, expiresAt(meta), meta.absoluteAt].map((at) => String(wholeMs(at)))
    return [writeId, ...ends, key, packRecord(draft, 1, [writeId])]
  }

  function indexKeys(draft: Draft): string[] {
    return draft.meta.userId === undefined ? [] : [userKey(draft.meta.userId)]
  }

  /** The index is a hint that `list` checks, so nobody waits for this. */
  function forget(userId: string | undefined, ...keys: string[]): void {
    if (userId === undefined || keys.length === 0) return
    command(['ZREM', userKey(userId), ...keys]).catch(() => {})
  }

  /** A listing needs no fields: the first bytes hold the metadata, unless a user id is very long. */
  async function beginning(name: string): Promise<string> {
    const start = String(await command(['GETRANGE', name, '0', String(BEGINNING - 1)]))
    return hasWholeMeta(start, BEGINNING) ? start : String(await command(['GET', name]))
  }

  async function summaries(keys: readonly string[]): Promise<(SessionSummary | undefined)[]> {
    const packed = await Promise.all(keys.map((key) => beginning(sessionKey(key)).catch(unlessInvalid)))
    return packed.map((text, index) => {
      const head = text === undefined ? undefined : unpackMeta(text)
      return head === undefined ? undefined : summaryOf(keys[index] as string, clock.fromStore({ ...head, fields: new Map() }).meta)
    })
  }

  async function* listUser(userId: string): AsyncGenerator<SessionSummary> {
    const members = asStrings(await command(['ZRANGE', userKey(userId), '0', '-1']))
    for (let from = 0; from < members.length; from += PAGE) {
      const keys = members.slice(from, from + PAGE)
      const found = await summaries(keys)
      forget(userId, ...keys.filter((_, index) => found[index]?.userId !== userId))
      for (const summary of found) if (summary?.userId === userId) yield summary
    }
  }

  async function* listAll(): AsyncGenerator<SessionSummary> {
    const start = sessionKey('')
    let cursor = '0'
    do {
      const reply = (await command(['SCAN', cursor, 'MATCH', `${start}*`, 'COUNT', String(PAGE), 'TYPE', 'string'])) as [unknown, unknown]
      cursor = String(reply[0])
      const keys = [...new Set(asStrings(reply[1]))].map((key) => key.slice(start.length))
      for (const summary of await summaries(keys)) if (summary !== undefined) yield summary
    } while (cursor !== '0')
  }

  return {
    name: 'redis',
    capabilities: new Set(['list', 'users'] as const),
    notProtected: [
      'Redis acknowledges a write before its disk and its replicas have it: what it loses in a crash or a fail-over is lost (redisStore; see appendfsync).',
    ],
    async ready(context: StoreContext): Promise<void> {
      users.join(context)
      connecting ??= connect(context)
      try {
        await connecting
      } catch (error) {
        connecting = undefined
        throw error
      }
      if (await (connection as RedisConnection).whenReady(context.deadlineMs)) return measureClock().catch(() => {})
      const problem = unreachable((connection as RedisConnection).problem)
      users.set('down', problem.message)
      throw problem
    },
    async read(key: string): Promise<StoredRecord | GoneMark | undefined> {
      const packed = await command(['GET', sessionKey(key)])
      if (packed === null) return undefined
      const record = unpackRecord(String(packed))
      if (record === undefined) throw recordInvalid('redisStore', key)
      return clock.fromStore(record)
    },
    async create(key: string, draft: Draft, writeId: string): Promise<boolean> {
      return Number(await run(CREATE, [sessionKey(key), ...indexKeys(draft)], draftArgs(key, draft, writeId))) === 1
    },
    async patch(key: string, patch: StorePatch): Promise<PatchResult> {
      const reply = asStrings(await run(PATCH, [sessionKey(key)], patchArgs(patch, clock.toStore)))
      const fields = [...patch.add.keys()]
      if (reply[0] === 'n') throw notNumber(fields[Number(reply[1])] as string)
      if (reply[0] !== 'a') return refusal(key, reply)
      const counters = new Map(fields.map((field, index) => [field, reply[index + 3] as string]))
      return { outcome: 'applied', before: Number(reply[1]), after: Number(reply[2]), counters }
    },
    async replace(oldKey: string, newKey: string, draft: Draft, writeId: string): Promise<PatchResult> {
      const keys = [sessionKey(oldKey), sessionKey(newKey), ...indexKeys(draft)]
      const reply = asStrings(await run(REPLACE, keys, draftArgs(newKey, draft, writeId)))
      if (reply[0] !== 'a') return refusal(oldKey, reply)
      forget(unpackUser(reply[2] as string), oldKey)
      return { outcome: 'applied', before: Number(reply[1]), after: 1, counters: new Map() }
    },
    async destroy(key: string, reason: 'destroyed' | 'replaced', markUntil: number, filter: { userId?: string } = {}): Promise<boolean> {
      const mark = packMark(reason, clock.toStore(users.context().runtime.now()))
      const user = filter.userId === undefined ? '' : packUser(filter.userId)
      const ended = await run(DESTROY, [sessionKey(key)], [mark, String(wholeMs(clock.toStore(markUntil))), user])
      if (ended === null) return false
      forget(unpackUser(String(ended)), key)
      return true
    },
    list: (filter: { userId?: string }): AsyncIterable<SessionSummary> =>
      filter.userId === undefined ? listAll() : listUser(filter.userId),
    async close(): Promise<void> {
      if (!users.leave()) return
      measuring?.cancel()
      connection?.close()
      connection = undefined
      connecting = undefined
    },
  }
}

const ADVICE: Readonly<Record<string, string>> = {
  WRONGPASS: 'correct the user and password in the url of redisStore',
  NOAUTH: 'it wants a password: put it into the url of redisStore',
  NOPERM: 'its user lacks permissions: allow the string, sorted set, key and scripting commands on the prefix',
  NOREPLICAS: 'it has too few replicas to take writes: check them',
  OOM: 'it is out of memory: raise maxmemory, or let it evict keys with an expiry',
  READONLY: 'it is a read-only replica: name the primary',
  MISCONF: 'it cannot save to its disk: check the log of Redis',
  LOADING: 'it is loading its data: wait',
  'no answer': 'it accepts connections but does not answer: check its load, or whether it is stopped',
}

function patchArgs(patch: StorePatch, toStore: (ms: number) => number): string[] {
  const { writeId, ifVersion, touchAt, lifetime, set, add } = patch
  const version = ifVersion === undefined ? '' : String(ifVersion)
  const args = [writeId, version, String(wholeMs(toStore(touchAt)))]
  if (lifetime === undefined) args.push('', '', '')
  else args.push(...[lifetime.idleMs, lifetime.touchEveryMs, toStore(lifetime.absoluteAt)].map((ms) => String(wholeMs(ms))))
  args.push(String(set.size * 2))
  for (const [name, value] of set) args.push(packText(name), packValue(value))
  for (const [name, { by, from }] of add) args.push(packText(name), String(by), String(from))
  return args
}

function refusal(key: string, reply: readonly string[]): PatchResult {
  if (reply[0] === 'c') return { outcome: 'conflict', version: Number(reply[1]) }
  if (reply[0] !== 'g') throw recordInvalid('redisStore', key)
  const reason = reply[1]
  return { outcome: 'gone', reason: reason === 'destroyed' || reason === 'replaced' ? reason : 'unknown' }
}

function asStrings(reply: unknown): string[] {
  return Array.isArray(reply) ? reply.map(String) : []
}

function messageOf(error: unknown): string {
  return String((error as { message?: unknown } | undefined)?.message ?? '')
}

function unlessInvalid(error: unknown): undefined {
  if (SessionError.is(error) && error.code === 'STORE_RECORD_INVALID') return undefined
  throw error
}
