import type { Runtime, Timer } from '../seam.ts'
import type { RedisAddress, RedisPlace } from './redis-address.ts'
import type { ClientOptions } from './redis-connection.ts'
import { discard, problemOf, RedisOutage } from './redis-driver.ts'
import type { RedisClientLike, RedisDriver } from './redis-driver.ts'

export interface SentinelPlan {
  readonly driver: RedisDriver
  readonly place: RedisPlace
  readonly credentials: { readonly username?: string; readonly password?: string }
  readonly runtime: Runtime
  readonly deadlineMs: number
  options(address: RedisAddress): ClientOptions
}

const LONGEST_MS = 2_000
const REFUSALS: ReadonlySet<string> = new Set(['NOAUTH', 'WRONGPASS', 'NOPERM'])
const UNKNOWN = 'Sentinel does not know this master'

/** Asks all Sentinels at once, as some may be dead: the first that knows the master names it. */
export async function findMaster({ driver, place, credentials, runtime, deadlineMs, options }: SentinelPlan): Promise<RedisAddress> {
  const clients: { destroy(): unknown }[] = []
  const errors: unknown[] = []

  async function askOne(address: RedisAddress): Promise<RedisAddress> {
    const { username: _user, password: _password, database: _database, ...rest } = options(address) as Record<string, unknown>
    const client = driver.createClient({ ...rest, ...credentials, disableClientInfo: true } as ClientOptions)
    clients.push(client)
    client.on('error', () => {})
    await client.connect()
    const reply: unknown = await (client as RedisClientLike).sendCommand(['SENTINEL', 'GET-MASTER-ADDR-BY-NAME', place.master])
    if (!Array.isArray(reply)) throw new RedisOutage(UNKNOWN)
    const [host, port] = reply.map(String) as [string, string]
    return { host, port: Number(port) }
  }

  async function askNoting(address: RedisAddress): Promise<RedisAddress> {
    try {
      return await askOne(address)
    } catch (error) {
      errors.push(error)
      throw error
    }
  }

  let timer: Timer | undefined
  const late = new Promise<never>((_, reject) => {
    const ms = Math.min(deadlineMs, LONGEST_MS)
    timer = runtime.setTimer(ms, () => reject(errors.length > 0 ? summaryOf(errors) : new RedisOutage('no Sentinel answered')))
  })
  try {
    return await Promise.race([Promise.any(place.addresses.map(askNoting)), late])
  } catch (error) {
    throw error instanceof AggregateError ? summaryOf(errors) : error
  } finally {
    timer?.cancel()
    for (const client of clients) discard(client)
  }
}

/** What one of them knows says more than that others are dead. */
function summaryOf(errors: readonly unknown[]): RedisOutage {
  const problems = errors.map(problemOf)
  if (problems.includes(UNKNOWN)) return new RedisOutage(UNKNOWN)
  const refusal = problems.find((problem) => REFUSALS.has(problem))
  return new RedisOutage(`no Sentinel could be asked: ${refusal ?? problems[0] ?? 'none given'}`)
}

/** A server that was master, or is not yet, must not be written to. HELLO, unlike ROLE, is no dangerous command to any ACL. */
export async function masterCheck(client: RedisClientLike): Promise<string | undefined> {
  const reply = (await client.sendCommand(['HELLO'])) as { readonly role?: unknown }
  return String(reply.role) === 'master' ? undefined : 'Sentinel named a server that is not the master yet'
}
