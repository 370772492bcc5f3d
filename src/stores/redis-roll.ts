/** The roll of the servers that keep copies, in Redis. Calls are told by client tracking, in order with the changes before them. */
import { asStrings } from './redis-list.ts'
import type { Roll } from './roll-call.ts'

export interface RollNames {
  /** The number of the last call: who has read it is told the next one. */
  readonly calls: string
  /** Who is on the roll, by the call that it has answered. */
  readonly answers: string
  readonly beats: string
}

export interface RollCommands {
  /** Answered once all that was announced before has been passed on. Rejects. */
  inOrder(command: string[]): Promise<unknown>
  send(command: string[]): Promise<unknown>
}

export function rollNames(prefix: string): RollNames {
  return { calls: `${prefix}:r:calls`, answers: `${prefix}:r:answers`, beats: `${prefix}:r:beats` }
}

/** A full Redis refuses to add unless the script has taken something away first. */
const ENROLL = `
redis.call('ZREM', KEYS[3], ARGV[1])
local call = redis.call('GET', KEYS[1]) or '0'
local isNew = redis.call('ZADD', KEYS[2], 'NX', ARGV[3] == '' and call or ARGV[3], ARGV[1])
redis.call('ZADD', KEYS[3], ARGV[2], ARGV[1])
return { call, isNew }
`
const ANSWER = `
redis.call('ZREM', KEYS[2], '')
redis.call('ZADD', KEYS[2], 'XX', 'GT', ARGV[2], ARGV[1])
return redis.call('GET', KEYS[1]) or '0'
`
/** Above every answer, also when Redis has lost the count. */
const CALL = `
if not redis.call('ZSCORE', KEYS[2], ARGV[1]) then return false end
redis.call('ZREM', KEYS[2], '')
local call = redis.call('INCR', KEYS[1])
local most = tonumber(redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')[2])
if most >= call then
  call = most + 1
  redis.call('SET', KEYS[1], string.format('%.0f', call))
end
return string.format('%.0f', call)
`
const ANSWERED = `
return redis.call('ZSCORE', KEYS[1], ARGV[1]) and redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
`
const MOST_SILENT = 100
const SILENT = `
local found = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[1], 'LIMIT', 0, ${MOST_SILENT})) do
  found[#found + 1] = id
  found[#found + 1] = redis.call('ZSCORE', KEYS[2], id) or ''
end
return found
`
const STRIKE = `
if ARGV[2] ~= '*' and (redis.call('ZSCORE', KEYS[2], ARGV[1]) or '') ~= ARGV[2] then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('ZREM', KEYS[1], ARGV[1])
`

/** `isDeaf`: this server is not told of changes, so it answers no call, and all wait for its copies to end. */
export function redisRoll({ calls, answers, beats }: RollNames, { inOrder, send }: RollCommands, isDeaf: boolean): Roll {
  return {
    async enroll(id, beat): Promise<{ call: number; isNew: boolean }> {
      const [call, isNew] = asStrings(await inOrder(evaluate(ENROLL, [calls, answers, beats], [id, String(beat), isDeaf ? '-1' : ''])))
      return { call: whole(call), isNew: isNew === '1' }
    },
    async renew(id, beat): Promise<boolean> {
      // No script: this is what each server sends every second.
      const isOn = send(['ZSCORE', answers, id])
      isOn.catch(() => {})
      const isRenewed = Number(await inOrder(['ZADD', beats, 'XX', 'CH', String(beat), id])) === 1
      return (await isOn) !== null && isRenewed
    },
    answer: async (id, call) => (isDeaf ? call : whole(await inOrder(evaluate(ANSWER, [calls, answers], [id, String(call)])))),
    call: async (id) => wholeOrNone(await send(evaluate(CALL, [calls, answers], [id]))),
    answered: async (id) => wholeOrNone(await send(evaluate(ANSWERED, [answers], [id]))),
    async silent(call): Promise<ReadonlyMap<string, string>> {
      const found = asStrings(await send(evaluate(SILENT, [answers, beats], [String(call)])))
      return new Map(found.flatMap((id, index) => (index % 2 === 0 ? [[id, found[index + 1] ?? ''] as const] : [])))
    },
    async strike(id, beat = '*'): Promise<void> {
      await send(evaluate(STRIKE, [answers, beats], [id, beat]))
    },
  }
}

function evaluate(text: string, keys: readonly string[], args: readonly string[]): string[] {
  return ['EVAL', text, String(keys.length), ...keys, ...args]
}

function whole(reply: unknown): number {
  const number = Number(reply)
  if (!Number.isSafeInteger(number)) throw new Error('not a call')
  return number
}

function wholeOrNone(reply: unknown): number | undefined {
  return reply === null || reply === undefined ? undefined : whole(reply)
}
