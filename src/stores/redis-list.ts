import { summaryOf } from '../core/stored-record.ts'
import { SessionError } from '../errors.ts'
import type { SessionSummary } from '../types.ts'
import type { StoreClock } from './store-clock.ts'
import type { RedisCommands } from './redis-commands.ts'
import type { RedisNames } from './redis-names.ts'
import { hasWholeMeta, unpackMeta } from './redis-record.ts'
import type { RedisMaster, RedisServers } from './redis-servers.ts'

const PAGE = 200
const BEGINNING = 512

export interface RedisList {
  /** The index is a hint that `list` checks, so nobody waits for this. */
  forget(userId: string | undefined, ...keys: string[]): void
  list(filter: { userId?: string }): AsyncIterable<SessionSummary>
}

export function redisList(
  { until, command, failure }: RedisCommands,
  names: RedisNames,
  clock: StoreClock,
  servers: () => RedisServers | undefined,
): RedisList {
  /** A listing needs no fields: the first bytes hold the metadata, unless a user id is very long. */
  async function beginning(name: string): Promise<string> {
    const start = String(await command(['GETRANGE', name, '0', String(BEGINNING - 1)], name, until()))
    return hasWholeMeta(start, BEGINNING) ? start : String(await command(['GET', name], name, until()))
  }

  async function summaries(keys: readonly string[]): Promise<(SessionSummary | undefined)[]> {
    const packed = await Promise.all(keys.map((key) => beginning(names.session(key)).catch(unlessInvalid)))
    return packed.map((text, index) => {
      const head = text === undefined ? undefined : unpackMeta(text)
      return head === undefined ? undefined : summaryOf(keys[index] as string, clock.metaFromStore(head.meta))
    })
  }

  function forget(userId: string | undefined, ...keys: string[]): void {
    if (userId === undefined || keys.length === 0) return
    remove(names.user(userId), keys).catch(() => {})
  }

  async function remove(name: string, keys: readonly string[]): Promise<void> {
    await command(['ZREM', name, ...keys], name, until())
  }

  async function* listUser(userId: string): AsyncGenerator<SessionSummary> {
    const name = names.user(userId)
    const members = asStrings(await command(['ZRANGE', name, '0', '-1'], name, until()))
    for (let from = 0; from < members.length; from += PAGE) {
      const keys = members.slice(from, from + PAGE)
      const found = await summaries(keys)
      forget(userId, ...keys.filter((_, index) => found[index]?.userId !== userId))
      for (const summary of found) if (summary?.userId === userId) yield summary
    }
  }

  async function* listAll(): AsyncGenerator<SessionSummary> {
    const masters = await ask(() => servers()?.masters(until()) ?? Promise.resolve([]))
    for (const master of masters) yield* listMaster(master)
  }

  async function* listMaster(master: RedisMaster): AsyncGenerator<SessionSummary> {
    let cursor = '0'
    do {
      const args = ['SCAN', cursor, 'MATCH', names.session('*'), 'COUNT', String(PAGE), 'TYPE', 'string']
      const reply = (await ask(() => master.send(args, until()))) as [unknown, unknown]
      cursor = String(reply[0])
      const keys = [...new Set(asStrings(reply[1]))].map(names.keyOf)
      for (const summary of await summaries(keys)) if (summary !== undefined) yield summary
    } while (cursor !== '0')
  }

  async function ask<R>(work: () => Promise<R>): Promise<R> {
    try {
      return await work()
    } catch (error) {
      throw failure(error, names.session(''))
    }
  }

  return { forget, list: ({ userId }) => (userId === undefined ? listAll() : listUser(userId)) }
}

export function asStrings(reply: unknown): string[] {
  return Array.isArray(reply) ? reply.map(String) : []
}

function unlessInvalid(error: unknown): undefined {
  if (SessionError.is(error) && error.code === 'STORE_RECORD_INVALID') return undefined
  throw error
}
