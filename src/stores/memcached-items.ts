import { LRUCache } from 'lru-cache'
import { Turns } from '../core/turns.ts'
import { SessionError } from '../errors.ts'
import type { MaybePromise, Runtime } from '../seam.ts'
import { recordInvalid, unavailable } from './availability.ts'
import type { MemcachedConnection } from './memcached-connection.ts'
import { flagOf } from './memcached-parser.ts'
import type { MemcachedReply } from './memcached-parser.ts'
import { endOf, packItem, unpackItem } from './memcached-record.ts'
import type { MemcachedItem } from './memcached-record.ts'
import type { MemcachedServers } from './memcached-servers.ts'

/** What a change makes of an item: its result, and what to store, if anything. */
export interface ItemChange<R> {
  readonly result: R
  readonly item?: MemcachedItem
}

/** The item as it was last seen is not enough to decide: read it. */
export const LOOK = 'look'
export type Decision<R> = ItemChange<R> | typeof LOOK

/** `isFresh`: it was read just now; otherwise only storing something tells whether it is still so. Ended items are undefined. */
export type Decide<R> = (item: MemcachedItem | undefined, isFresh: boolean) => MaybePromise<Decision<R>>

export interface MemcachedItems {
  /** Undefined: absent, or ended. One command. `keep`: the next change may build on it. Default true. */
  read(key: string, until: number, keep?: boolean): Promise<MemcachedItem | undefined>
  /** The next change reads the item first. */
  forget(key: string): void
  /**
   * Compare-and-set until it holds: one command while nobody else changes the item. `first`: what to assume before the item
   * is read: as it was last seen, or absent, as a new one is.
   */
  change<R>(key: string, until: number, first: 'seen' | 'absent' | 'unknown', decide: Decide<R>): Promise<R>
  /** Removes the item if `is` says so. */
  remove(key: string, until: number, is: (item: MemcachedItem) => boolean): Promise<void>
}

/** An item with the CAS value that makes the next change of it one command. */
interface Seen {
  readonly item: MemcachedItem
  readonly cas: string
  /** Of the connection: CAS values of a server that restarted begin again. */
  readonly life: number
  readonly bytes: number
}

const SEEN_MOST = 10_000
const SEEN_BYTES = 32 * 1_048_576
const SEEN_OVERHEAD_BYTES = 400
/** Header, CAS value, flags and line end of an item, with something to spare. */
const ITEM_OVERHEAD_BYTES = 128
const RELATIVE_SECONDS = 30 * 24 * 3_600
const WAITING_MOST = 2_000
const FIRST_PAUSE_MS = 2
const LONGEST_PAUSE_MS = 50

export function memcachedItems(servers: MemcachedServers, runtime: Runtime): MemcachedItems {
  const seen = new LRUCache<string, Seen>({ max: SEEN_MOST, maxSize: SEEN_BYTES, sizeCalculation: ({ bytes }) => bytes })
  const turns = new Map<string, { readonly turns: Turns; waiting: number }>()

  async function look(key: string, until: number, keep = true): Promise<Seen | undefined> {
    const server = servers.of(key)
    const { life } = server
    const reply = await server.send(`mg ${key} v c`, undefined, until)
    if (reply?.code === 'EN') {
      seen.delete(key)
      return undefined
    }
    const cas = reply && flagOf(reply, 'c')
    if (reply?.value === undefined || cas === undefined) throw refusal(server, reply)
    const item = unpackItem(reply.value)
    if (item === undefined) throw recordInvalid('memcachedStore', sessionOf(key))
    const found = { item, cas, life: server.life === life ? life : 0, bytes: reply.value.length + SEEN_OVERHEAD_BYTES }
    if (keep) seen.set(key, found)
    return found
  }

  /** False: somebody else changed it. */
  async function store(key: string, item: MemcachedItem, before: Seen | undefined, until: number): Promise<boolean> {
    const server = servers.of(key)
    const value = packItem(item)
    // Memcached drops the item that a refused one was to replace: never send what it would refuse.
    const bytes = value.length + key.length + ITEM_OVERHEAD_BYTES
    if (bytes > server.itemBytes) throw tooLarge(server, bytes)
    const mode = before === undefined ? 'ME' : `C${before.cas}`
    const seconds = secondsLeft(endOf(item), runtime.now())
    const { life } = server
    const reply = await server.send(`ms ${key} ${value.length} ${mode} T${seconds} c`, value, until, before?.life)
    if (reply !== undefined && reply.code !== 'HD' && !CHANGED.has(reply.code)) throw refusal(server, reply)
    const cas = reply?.code === 'HD' ? flagOf(reply, 'c') : undefined
    if (cas === undefined) seen.delete(key)
    else seen.set(key, { item, cas, life: server.life === life ? life : 0, bytes: value.length + SEEN_OVERHEAD_BYTES })
    return reply?.code === 'HD'
  }

  function live(found: Seen | undefined): MemcachedItem | undefined {
    return found !== undefined && endOf(found.item) > runtime.now() ? found.item : undefined
  }

  async function tryOnce<R>(
    key: string,
    until: number,
    before: Seen | undefined,
    isFresh: boolean,
    decide: Decide<R>,
  ): Promise<Decision<R> | undefined> {
    const decision = await decide(live(before), isFresh)
    if (decision === LOOK || decision.item === undefined) return decision
    return (await store(key, decision.item, before, until)) ? decision : undefined
  }

  async function attempts<R>(key: string, until: number, first: 'seen' | 'absent' | 'unknown', decide: Decide<R>): Promise<R> {
    if (first !== 'unknown') {
      const assumed = first === 'seen' ? seen.get(key) : undefined
      const decision = assumed === undefined && first === 'seen' ? LOOK : await tryOnce(key, until, assumed, false, decide)
      if (decision !== undefined && decision !== LOOK) return decision.result
    }
    for (let tries = 0; runtime.monotonic() < until; tries++) {
      const decision = await tryOnce(key, until, await look(key, until), true, decide)
      if (decision !== undefined && decision !== LOOK) return decision.result
      await pause(tries, until)
    }
    throw unavailable('too many writers change one session at once: send the request again')
  }

  function pause(tries: number, until: number): Promise<void> {
    const jitter = (runtime.randomBytes(1)[0] as number) / 256
    const ms = Math.min(jitter * Math.min(FIRST_PAUSE_MS * 2 ** tries, LONGEST_PAUSE_MS), until - runtime.monotonic())
    return new Promise((resolve) => void runtime.setTimer(ms, resolve))
  }

  /** Changes of one item from this process follow each other: between them, each finds the CAS value of the one before. */
  async function inTurn<R>(key: string, until: number, work: () => Promise<R>): Promise<R> {
    const line = turns.get(key) ?? { turns: new Turns(), waiting: 0 }
    if (line.waiting >= WAITING_MOST) throw unavailable('too many writes wait for one session: send the request again')
    turns.set(key, line)
    line.waiting += 1
    try {
      return await line.turns.run(() => {
        if (runtime.monotonic() >= until) throw servers.of(key).unreachable('no answer')
        return work()
      })
    } finally {
      line.waiting -= 1
      if (line.waiting === 0) turns.delete(key)
    }
  }

  return {
    read: async (key, until, keep) => live(await look(key, until, keep)),
    forget: (key) => void seen.delete(key),
    change: (key, until, first, decide) => inTurn(key, until, () => attempts(key, until, first, decide)),
    async remove(key, until, is): Promise<void> {
      const found = await look(key, until)
      if (found === undefined || !is(found.item)) return
      seen.delete(key)
      await servers.of(key).send(`md ${key} C${found.cas}`, undefined, until, found.life)
    },
  }

  function refusal(server: MemcachedConnection, reply: MemcachedReply | undefined): SessionError {
    const text = reply?.code === 'SERVER_ERROR' ? reply.tokens.join(' ') : ''
    if (text.startsWith('object too large')) return tooLarge(server, undefined)
    if (text.startsWith('out of memory'))
      return unavailable(
        `Memcached at ${server.name} is out of memory: raise its limit (memcached -m), or let it evict (start it without -M)`,
      )
    return unavailable(`Memcached at ${server.name} refused a command: check its log`)
  }
}

/** Of `ms`: another CAS value, or the item is there or gone against expectation. */
const CHANGED: ReadonlySet<string> = new Set(['EX', 'NF', 'NS'])

function tooLarge({ name, itemBytes }: MemcachedConnection, bytes: number | undefined): SessionError {
  const size = bytes === undefined ? 'too large' : `${bytes} bytes`
  return new SessionError(
    'SESSION_TOO_LARGE',
    `The session would be an item of ${size}, Memcached at ${name} takes ${itemBytes}: nothing was stored. Raise its limit (memcached -I), or lower limits.sessionBytes.`,
  )
}

/**
 * Memcached counts whole seconds from a clock that may be a second behind, and takes more than 30 days as Unix time: a
 * second more than needed, since the end to the millisecond is in the item.
 */
export function secondsLeft(endAt: number, now: number): number {
  const seconds = Math.max(1, Math.ceil((endAt - now) / 1_000) + 1)
  return seconds <= RELATIVE_SECONDS ? seconds : Math.min(Math.ceil(endAt / 1_000) + 1, UNIX_SECONDS_MOST)
}

/** Later ends would not fit what Memcached counts in. */
const UNIX_SECONDS_MOST = 2_147_483_647

function sessionOf(key: string): string {
  return key.slice(key.lastIndexOf(':') + 1)
}
