/** What `holdfast sessions` is asked to do. */
import { wholeNumber } from '../lab/choice.ts'
import { checkStoreUrl, STORE_URLS, type StoreUrlOptions } from '../lab/store-url.ts'
import { type Environment, type FlagHelp, type Flags, flagsOf } from './flags.ts'

export const SESSIONS_FLAGS: readonly FlagHelp[] = [
  { name: 'store', value: '<url>', help: 'Where the sessions are; put a URL with a password into HOLDFAST_STORE instead' },
  { name: 'prefix', value: '<name>', help: 'Redis, Memcached: the prefix that the application gives its store' },
  { name: 'table', value: '<name>', help: 'PostgreSQL, MySQL: the table that the application gives its store' },
  { name: 'user', value: '<id>', help: 'list, revoke: only sessions of this user' },
  { name: 'limit', value: '<n>', help: 'list: at most so many' },
  { name: 'values', help: 'show: the values too; they may be private' },
  { name: 'except', value: '<key>', help: 'revoke-user: spare this session' },
  { name: 'cookie-based', help: 'revoke, revoke-user: sessions of cookieBased, whose servers keep revocations in this store' },
  { name: 'json', help: 'JSON instead of text' },
  { name: 'peers', value: '<addresses>', help: 'Not there yet: sessions that the servers keep themselves' },
]

export type SessionsTask =
  | { readonly action: 'list'; readonly userId: string | undefined; readonly limit: number }
  | { readonly action: 'show'; readonly key: string; readonly values: boolean }
  | { readonly action: 'revoke'; readonly key: string; readonly userId: string | undefined }
  | { readonly action: 'revoke-user'; readonly userId: string; readonly except: string | undefined }

export interface SessionsRequest {
  readonly task: SessionsTask
  readonly store: string
  readonly storeOptions: StoreUrlOptions
  readonly json: boolean
  /** The sessions are in the visitors' browsers, and the store only says which of them have ended. */
  readonly cookieBased: boolean
}

const ACTIONS = 'list, show KEY, revoke KEY or revoke-user USER'
const KEY = /^[\w-]{43}$/
const MOST = 999_999

/** Flags that go with some actions only. */
const USED_BY: Readonly<Record<string, readonly string[]>> = {
  user: ['list', 'revoke'],
  limit: ['list'],
  values: ['show'],
  except: ['revoke-user'],
}

/** Throws, with what to do, when it makes no sense. Never repeats an argument: it may be a URL with a password. */
export function sessionsRequest(
  args: readonly string[],
  given: Readonly<Record<string, unknown>>,
  environment: Environment,
): SessionsRequest {
  const flags = flagsOf(given, environment)
  const task = taskOf(args, flags)
  for (const [name, actions] of Object.entries(USED_BY)) {
    if (flags.has(name) && !actions.includes(task.action))
      throw new Error(`--${name} goes with ${actions.join(' and ')}, not with ${task.action}.`)
  }
  const cookieBased = flags.isOn('cookie-based')
  if (cookieBased && !task.action.startsWith('revoke'))
    throw new Error(
      `--cookie-based goes with revoke and revoke-user: those sessions are in the visitors' browsers, where nobody can ${task.action} them.`,
    )
  if (flags.value('peers') !== undefined) throw new Error('--peers is not there yet: name a session server with --store URL.')
  const store = flags.value('store')
  if (store === undefined) throw new Error(`Say where the sessions are, with --store or HOLDFAST_STORE: ${STORE_URLS}.`)
  const [prefix, table] = [flags.text('prefix'), flags.text('table')]
  return {
    task,
    store: checkStoreUrl(store),
    // Whoever looks changes nothing.
    storeOptions: { migrate: false, ...(prefix !== undefined && { prefix }), ...(table !== undefined && { table }) },
    json: flags.isOn('json'),
    cookieBased,
  }
}

function taskOf([action, subject, ...more]: readonly string[], flags: Flags): SessionsTask {
  if (action === undefined) throw new Error(`Say what to do: ${ACTIONS}; see holdfast sessions --help.`)
  if (more.length > 0 || (action === 'list' && subject !== undefined)) {
    throw new Error(`There is an argument too many: holdfast sessions takes ${ACTIONS}, and flags.`)
  }
  switch (action) {
    case 'list': {
      const limit = flags.value('limit')
      return {
        action,
        userId: userOf(flags),
        limit: limit === undefined ? Number.POSITIVE_INFINITY : wholeNumber(limit, '--limit', 1, MOST),
      }
    }
    case 'show':
      return { action, key: keyOf(subject, 'holdfast sessions show KEY'), values: flags.isOn('values') }
    case 'revoke':
      return { action, key: keyOf(subject, 'holdfast sessions revoke KEY'), userId: userOf(flags) }
    case 'revoke-user': {
      if (subject === undefined || subject === '') throw new Error('Name a user: holdfast sessions revoke-user USER.')
      const except = flags.text('except')
      return { action, userId: subject, except: except === undefined ? undefined : keyOf(except, '--except KEY') }
    }
    default:
      throw new Error(`There is no such action: use ${ACTIONS}.`)
  }
}

function userOf(flags: Flags): string | undefined {
  return flags.text('user')
}

function keyOf(text: string | undefined, usage: string): string {
  if (text !== undefined && KEY.test(text)) return text
  throw new Error(`${usage}: a key is the 43 letters, digits, - and _ that holdfast sessions list prints; a token or cookie is none.`)
}
