import { SessionError } from '../errors.ts'
import type { Runtime } from '../seam.ts'
import { recordInvalid, unavailable } from './availability.ts'
import type { Wrote } from './redis-ask.ts'
import { messageOf, problemOf } from './redis-driver.ts'
import type { RedisScript } from './redis-script.ts'
import type { RedisServers } from './redis-servers.ts'

/** Commands by the deadline, whose failures are `SessionError`s. */
export interface RedisCommands {
  /** Monotonic ms: when an operation that begins now has to end, however many commands it sends. */
  until(): number
  command(args: string[], name: string, until: number): Promise<unknown>
  /** One command; a second one only when the server has forgotten the script. */
  run(script: RedisScript, keys: readonly string[], args: readonly string[], until: number): Promise<unknown>
  failure(error: unknown, name: string): SessionError
}

export interface CommandsPlan {
  /** Throws STORE_UNAVAILABLE while the store is not open. */
  surroundings(): { readonly runtime: Runtime; readonly deadlineMs: number }
  servers(): RedisServers | undefined
  /** What a name in Redis stands for, to be told in messages. */
  keyOf(name: string): string
  /** The address without credentials. */
  readonly shown: string
}

export function redisCommands({ surroundings, servers, keyOf, shown }: CommandsPlan): RedisCommands {
  async function send(args: string[], name: string, until: number, wrote?: Wrote): Promise<unknown> {
    const open = servers()
    if (open === undefined) throw unreachable(shown, 'not connected yet')
    return open.send(args, name, until, wrote)
  }

  function failure(error: unknown, name: string): SessionError {
    if (SessionError.is(error)) return error
    if (/WRONGTYPE/.test(messageOf(error))) return recordInvalid('redisStore', keyOf(name))
    return unreachable(shown, problemOf(error))
  }

  async function command(args: string[], name: string, until: number): Promise<unknown> {
    try {
      return await send(args, name, until)
    } catch (error) {
      throw failure(error, name)
    }
  }

  return {
    until(): number {
      const { runtime, deadlineMs } = surroundings()
      return runtime.monotonic() + deadlineMs
    },
    command,
    async run({ sha1, text, written }, keys, args, until): Promise<unknown> {
      const bySha = ['EVALSHA', sha1, String(keys.length), ...keys, ...args]
      const name = keys[0] as string
      const wrote = written && ((reply: unknown) => written(reply, keys, args))
      try {
        return await send(bySha, name, until, wrote)
      } catch (error) {
        if (!messageOf(error).startsWith('NOSCRIPT')) throw failure(error, name)
      }
      try {
        return await send(['EVAL', text, ...bySha.slice(2)], name, until, wrote)
      } catch (error) {
        throw failure(error, name)
      }
    },
    failure,
  }
}

/** One line that says what to do; `problem`: a few words without anything secret. */
export function unreachable(shown: string, problem: string): SessionError {
  // In a cluster the node is named, too.
  const word = problem.replace(/ at \S+$/, '')
  const tls = word === 'no answer' && shown.startsWith('rediss') ? '; or it does not speak TLS here: then begin the url with redis' : ''
  return unavailable(`cannot reach Redis at ${shown} (${problem}): ${ADVICE[word] ?? adviceFor(word)}${tls}`)
}

function adviceFor(problem: string): string {
  if (/Sentinel/.test(problem)) return 'check the Sentinels, their names in the url, and the sentinel option of redisStore'
  if (/CERT|SIGNATURE|ISSUER|SELF_SIGNED|ERR_TLS/.test(problem))
    return 'its certificate cannot be trusted: give its authority as tls.ca of redisStore, and the name in it as the host'
  if (/SSL|EPROTO|TLS/.test(problem)) return 'it does not speak TLS here: begin the url with redis, or name the TLS port'
  return 'start it, or correct the url of redisStore'
}

const CLOSED = 'check its log, and whether it wants TLS: then begin the url with rediss'
const ADVICE: Readonly<Record<string, string>> = {
  WRONGPASS: 'correct the user and password in the url of redisStore',
  NOAUTH: 'it wants a password: put it into the url of redisStore',
  NOPERM: 'its user lacks permissions: allow the string, sorted set, key, connection and scripting commands on the prefix',
  NOREPLICAS: 'it has too few replicas to take writes: check them',
  OOM: 'it is out of memory: raise maxmemory, or let it evict keys with an expiry',
  READONLY: 'it is a read-only replica: name the primary',
  MISCONF: 'it cannot save to its disk: check the log of Redis',
  LOADING: 'it is loading its data: wait',
  MASTERDOWN: 'it is a replica that lost its primary: name the primary',
  CLUSTERDOWN: 'a part of the cluster has no master: check the cluster',
  'no such database': 'correct the number of the database at the end of the url, or raise databases there (Redis has 0 to 15 by default)',
  MOVED: 'it is a node of a cluster: begin the url with redis+cluster',
  'some slots have no master': 'check the cluster',
  'it is not a cluster': 'begin the url with redis',
  'connection closed': CLOSED,
  ECONNRESET: CLOSED,
  'no answer': 'it accepts connections but does not answer: check its load, or whether it is stopped',
}
