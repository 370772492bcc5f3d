import { expiresAt, notNumber } from '../core/stored-record.ts'
import type {
  ChangeListener,
  ChangeWatch,
  Draft,
  PatchResult,
  SessionStore,
  StoreContext,
  StoredRecord,
  StorePatch,
  Timer,
} from '../seam.ts'
import type { SessionSummary } from '../types.ts'
import { availability, recordInvalid } from './availability.ts'
import { storeClock, wholeMs } from './store-clock.ts'
import { redisCommands, unreachable } from './redis-commands.ts'
import { asStrings, redisList } from './redis-list.ts'
import { redisNames } from './redis-names.ts'
import { openServers } from './redis-open.ts'
import { checkedRedisOptions } from './redis-options.ts'
import type { RedisStoreOptions, RedisTarget } from './redis-options.ts'
import { packMark, packRecord, packText, packUser, packValue, unpackRecord, unpackUser } from './redis-record.ts'
import { DESTROY, END_USER, PATCH, SWAP } from './redis-scripts.ts'
import { swapOf } from './redis-swap.ts'
import type { RedisServers } from './redis-servers.ts'
import { redisWatch } from './redis-watch.ts'
import { isApplied, writesAtOnce, writesInSteps } from './redis-writes.ts'
import type { RedisDraft } from './redis-writes.ts'
import type { GoneMark } from './row.ts'

export type { RedisStoreOptions, RedisTarget, RedisTlsOptions } from './redis-options.ts'
export type { RedisClientLike } from './redis-driver.ts'

const MEASURE_EVERY_MS = 60_000

/**
 * Keeps sessions in Redis (6.2 or newer) or Valkey, one string each: one server, the master that Sentinel names, or a cluster
 * (`@redis/client` 6 is an optional peer, loaded by `ready()`). Rejects with STORE_UNAVAILABLE within the deadline while Redis
 * cannot be reached, and comes back by itself. A write that was answered 503 may still have been stored: retry it with its
 * write id. With a url, Redis announces foreign changes to near copies (client tracking; the user needs `+client`), in a cluster
 * each master those of its sessions; a client of your own stays open at the end, and near copies then live for the lease.
 *
 * Throws CONFIG_INVALID with all problems of the options; `ready()` rejects with DEPENDENCY_MISSING without `@redis/client`.
 * A record that does not parse is STORE_RECORD_INVALID, names its key and stays; a counter that cannot be summed is FIELD_INVALID, and
 * nothing is written.
 */
export function redisStore(target: RedisTarget, options: RedisStoreOptions = {}): SessionStore {
  const checked = checkedRedisOptions(target, options)
  const { place, shown } = checked
  const isCluster = place?.kind === 'cluster'
  const users = availability('redisStore')
  const names = redisNames(checked.prefix)
  const clock = storeClock()
  let servers: RedisServers | undefined
  let connecting: Promise<RedisServers> | undefined
  let measuring: Timer | undefined

  const commands = redisCommands({ surroundings: () => users.context(), servers: () => servers, keyOf: names.keyOf, shown })
  const { until, command, run } = commands
  const { forget, list } = redisList(commands, names, clock, () => servers)
  const kind = place === undefined ? 'given' : isCluster ? 'cluster' : 'one'
  const watching = redisWatch({
    prefix: checked.prefix,
    names,
    kind,
    commands,
    servers: () => servers,
    runtime: () => users.context().runtime,
  })
  const writes = isCluster ? writesInSteps(commands) : writesAtOnce(commands)

  async function connect({ runtime, deadlineMs, logger }: StoreContext): Promise<RedisServers> {
    return openServers(checked, {
      runtime,
      deadlineMs,
      up: onUp,
      down: (why) => users.set('down', unreachable(shown, why).message),
      changed: watching.changed,
      lost: watching.lost,
      cannotTrack: () =>
        logger.warn(`redisStore: Redis at ${shown} refuses CLIENT TRACKING, so near copies are not used: allow its user +client`),
    })
  }

  function onUp(): void {
    if (users.state === 'up') return
    users.set('up', shown)
    measureClock().catch(() => {})
  }

  async function measureClock(): Promise<void> {
    const { runtime } = users.context()
    measuring?.cancel()
    measuring = runtime.setTimer(MEASURE_EVERY_MS, () => void measureClock().catch(() => {}))
    const askedAt = runtime.now()
    const [seconds = Number.NaN, microseconds = 0] = asStrings(await command(['TIME'], '', until())).map(Number)
    if (Number.isFinite(seconds)) clock.set(seconds * 1_000 + microseconds / 1_000, askedAt, runtime)
  }

  function drafted(key: string, given: Draft, writeId: string): RedisDraft {
    const meta = clock.metaToStore(given.meta)
    const draft = { ...given, meta }
    const now = clock.toStore(users.context().runtime.now())
    const [nowText, endsAt, absoluteAt] = [now, expiresAt(meta), meta.absoluteAt].map((at) => String(wholeMs(at))) as [
      string,
      string,
      string,
    ]
    const index = meta.userId === undefined ? undefined : names.user(meta.userId)
    return { name: names.session(key), index, key, writeId, now: nowText, endsAt, absoluteAt, packed: packRecord(draft, 1, [writeId]) }
  }

  function markNow(reason: 'destroyed' | 'replaced'): string {
    return packMark(reason, clock.toStore(users.context().runtime.now()))
  }

  async function endUser(userId: string, markUntil: number, filter: { except?: string }): Promise<readonly string[]> {
    const till = String(wholeMs(clock.toStore(markUntil)))
    const args = [names.session(''), markNow('destroyed'), till, packUser(userId), filter.except ?? '']
    return asStrings(await run(END_USER, [names.user(userId)], args, until()))
  }

  return {
    name: 'redis',
    capabilities: new Set(['list', 'users'] as const),
    freshness: place === undefined ? 'lease' : 'push',
    confirmsLease: place === undefined,
    notProtected: [
      'Redis acknowledges a write before its disk and its replicas have it: what it loses in a crash or a fail-over is lost (redisStore; see appendfsync).',
    ],
    async ready(context: StoreContext): Promise<void> {
      users.join(context)
      const mine = (connecting ??= connect(context))
      try {
        const opened = await mine
        // Closed meanwhile.
        if (connecting !== mine) throw (opened.close(), unreachable(shown, 'closed'))
        servers = opened
      } catch (error) {
        if (connecting === mine) connecting = undefined
        throw error
      }
      if (watching.isWatched) servers.track()
      if (await servers.whenReady(context.deadlineMs)) return measureClock().catch(() => {})
      const problem = unreachable(shown, connecting === mine ? (servers?.problem ?? 'closed') : 'closed')
      if (connecting === mine) users.set('down', problem.message)
      throw problem
    },
    watch: (listener: ChangeListener): ChangeWatch => watching.watch(listener),
    async read(key: string): Promise<StoredRecord | GoneMark | undefined> {
      const name = names.session(key)
      const packed = await command(['GET', name], name, until())
      if (packed === null) return undefined
      const record = unpackRecord(String(packed))
      if (record === undefined) throw recordInvalid('redisStore', key)
      return clock.fromStore(record)
    },
    async create(key: string, draft: Draft, writeId: string): Promise<boolean> {
      return writes.create(drafted(key, draft, writeId))
    },
    async patch(key: string, patch: StorePatch): Promise<PatchResult> {
      const by = until()
      const swap = swapOf(patch, clock)
      if (swap !== undefined && Number(await run(SWAP, [names.session(key)], swap.args, by)) === 1) return swap.result
      const reply = asStrings(await run(PATCH, [names.session(key)], patchArgs(patch, clock.toStore), by))
      const fields = [...patch.add.keys()]
      if (reply[0] === 'n') throw notNumber(fields[Number(reply[1])] as string)
      if (!isApplied(reply)) return refusal(key, reply)
      const counters = new Map(fields.map((field, index) => [field, reply[index + 3] as string]))
      return { outcome: 'applied', before: Number(reply[1]), after: Number(reply[2]), counters }
    },
    async replace(oldKey: string, newKey: string, draft: Draft, writeId: string, ifVersion?: number): Promise<PatchResult> {
      const reply = await writes.replace(names.session(oldKey), drafted(newKey, draft, writeId), ifVersion)
      if (!isApplied(reply)) return refusal(oldKey, reply)
      forget(unpackUser(reply[2] as string), oldKey)
      return { outcome: 'applied', before: Number(reply[1]), after: 1, counters: new Map() }
    },
    async destroy(key: string, reason: 'destroyed' | 'replaced', markUntil: number, filter: { userId?: string } = {}): Promise<boolean> {
      const user = filter.userId === undefined ? '' : packUser(filter.userId)
      const till = String(wholeMs(clock.toStore(markUntil)))
      const ended = await run(DESTROY, [names.session(key)], [markNow(reason), till, user], until())
      if (ended === null) return false
      forget(unpackUser(String(ended)), key)
      return true
    },
    ...(isCluster ? {} : { endUser }),
    list: (filter: { userId?: string }): AsyncIterable<SessionSummary> => list(filter),
    async close(): Promise<void> {
      if (!users.leave()) return
      measuring?.cancel()
      const closing = servers
      servers = undefined
      connecting = undefined
      await watching.left()
      closing?.close()
    },
  }
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
