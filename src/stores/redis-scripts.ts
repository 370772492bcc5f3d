/**
 * One script per operation, so that each is one round trip and atomic. `redis-record.ts` says how a session is packed. A script
 * that leaves a live session reads its key after writing it: else Redis forgets that it has to announce later changes to us.
 */
import { WRITE_IDS_KEPT } from '../core/stored-record.ts'
import { firstKeys, NONE, script } from './redis-script.ts'
import type { RedisScript } from './redis-script.ts'
import { MARK_MS } from './row.ts'

const SHARED = `
local SEP = '\\30'
local REMOVED = '\\29r'
local function int(n) return string.format('%.0f', n) end
local function parse(packed)
  local stop = string.find(packed, SEP, 1, true) or #packed + 1
  local v, la, idle, te, abs, cr, p, w, u =
    string.match(string.sub(packed, 1, stop - 1), '^1;(%d+);(%d+);(%d+);(%d+);(%d+);(%d+);([01]);([^;]*);(.*)$')
  if not v then return nil end
  return { v = tonumber(v), la = tonumber(la), idle = tonumber(idle), te = te, abs = tonumber(abs), cr = cr, p = p, w = w, u = u, stop = stop }
end
local function pack(r)
  return table.concat({ '1', int(r.v), int(r.la), int(r.idle), r.te, int(r.abs), r.cr, r.p, r.w, r.u }, ';')
end
local function seen(w, id)
  local i = 0
  for known in string.gmatch(w, '[^,]+') do
    if known == id then return i end
    i = i + 1
  end
  return nil
end
local function keep(key, packed, till)
  redis.call('SET', key, packed, 'PXAT', till)
  redis.call('EXISTS', key)
end
-- A full Redis refuses SET unless the script has freed something.
local function mark(key, text, till)
  redis.call('DEL', key)
  redis.call('SET', key, text, 'PXAT', int(till))
end
local function ending(r) return math.min(r.la + r.idle, r.abs) end
local function reason(packed) return string.match(packed, '^g;(%a+)') end
local function index(key, member, now, score)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  redis.call('ZADD', key, score, member)
  local ttl = redis.call('PTTL', key)
  if ttl < 0 or tonumber(score) > tonumber(now) + ttl then redis.call('PEXPIREAT', key, score) end
end
`

/**
 * KEYS session [index]; ARGV writeId, now, end, absolute end, index member, the packed session.
 * 1: created; 2: created by the same write before; 0: the key exists.
 */
export const CREATE: RedisScript = script(
  `${SHARED}
local present = redis.call('GET', KEYS[1])
if present then
  local r = parse(present)
  if not r or not seen(r.w, ARGV[1]) then return 0 end
  -- What an earlier try has made and nobody has used is made anew: the session that it takes the place of may have changed.
  if r.v == 1 then keep(KEYS[1], ARGV[6], ARGV[3]) end
  return 2
end
keep(KEYS[1], ARGV[6], ARGV[3])
if KEYS[2] then index(KEYS[2], ARGV[5], ARGV[2], ARGV[4]) end
return 1
`,
  firstKeys(1),
)

/** KEYS session; ARGV how it begins, what replaces it, its end. 1: replaced; 0: it is not what the writer believed. */
export const SWAP: RedisScript = script(
  `
if redis.call('GETRANGE', KEYS[1], 0, #ARGV[1] - 1) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3])
redis.call('EXISTS', KEYS[1])
return 1
`,
  firstKeys(1),
)

/**
 * KEYS session; ARGV writeId, expected version or '', touchAt, idle or '', touchEvery, absolute end, how many of what follows are
 * pairs name, value to set (a removal is a value, too); the rest are triples name, by, from to add.
 * a before after counter…: applied; k the same: applied, and nothing was written; c version: conflict; g reason: gone; i: does not parse; n position: not a number.
 */
export const PATCH: RedisScript = script(
  `${SHARED}
local packed = redis.call('GET', KEYS[1])
if not packed then return { 'g', 'unknown' } end
local why = reason(packed)
if why then return { 'g', why } end
local r = parse(packed)
if not r then return { 'i' } end
local last = 7 + tonumber(ARGV[7])
local done = seen(r.w, ARGV[1])
if not done and ARGV[2] ~= '' and tonumber(ARGV[2]) ~= r.v then return { 'c', int(r.v) } end

-- What the patch names, in its order; 'held' is what the record has of it. Everything else is copied in runs.
local names, wanted, held = {}, {}, {}
for i = 8, last, 2 do
  if wanted[ARGV[i]] == nil then names[#names + 1] = ARGV[i] end
  wanted[ARGV[i]] = ARGV[i + 1]
end
for i = last + 1, #ARGV, 3 do
  if wanted[ARGV[i]] == nil then
    names[#names + 1] = ARGV[i]
    wanted[ARGV[i]] = false
  end
end
local out = { '' }
if #names > 0 then
  local pos, run, size = r.stop + 1, r.stop + 1, #packed
  while pos <= size + 1 do
    local mid = string.find(packed, SEP, pos, true)
    if not mid then return { 'i' } end
    local stop = string.find(packed, SEP, mid + 1, true) or size + 1
    local name = string.sub(packed, pos, mid - 1)
    if wanted[name] ~= nil then
      held[name] = string.sub(packed, mid + 1, stop - 1)
      if pos > run then out[#out + 1] = string.sub(packed, run, pos - 2) end
      run = stop + 1
    end
    pos = stop + 1
  end
  if run <= size + 1 then out[#out + 1] = string.sub(packed, run) end
elseif r.stop <= #packed then
  out[#out + 1] = string.sub(packed, r.stop + 1)
end

if done then
  local reply = { 'k', int(r.v - done - 1), int(r.v - done) }
  for i = last + 1, #ARGV, 3 do reply[#reply + 1] = held[ARGV[i]] or '' end
  return reply
end

local sums = {}
for i = last + 1, #ARGV, 3 do
  local name = ARGV[i]
  local current = wanted[name] or held[name]
  local base = tonumber(ARGV[i + 2])
  if current and current ~= REMOVED then
    base = string.match(current, '^%-?%d[%d%.eE%+%-]*$') and tonumber(current)
    if not base then return { 'n', int((i - last - 1) / 3) } end
  end
  local sum = base + tonumber(ARGV[i + 1])
  if sum ~= sum or sum == math.huge or sum == -math.huge then return { 'n', int((i - last - 1) / 3) } end
  local text
  if sum == math.floor(sum) and math.abs(sum) < 1e21 then
    text = int(sum)
    if text == '-0' then text = '0' end
  else
    for digits = 15, 17 do
      text = string.format('%.' .. digits .. 'g', sum)
      if tonumber(text) == sum then break end
    end
  end
  wanted[name] = text
  sums[#sums + 1] = text
end

local touch = tonumber(ARGV[3])
local moved = touch > r.la
if moved then r.la = touch end
local before = r.v
if #names > 0 or ARGV[4] ~= '' then
  r.v = r.v + 1
  local ids, kept = ARGV[1], 1
  for known in string.gmatch(r.w, '[^,]+') do
    if kept >= ${WRITE_IDS_KEPT} then break end
    ids = ids .. ',' .. known
    kept = kept + 1
  end
  r.w = ids
elseif not moved then
  return { 'k', int(before), int(before) }
end
if ARGV[4] ~= '' then
  r.idle = tonumber(ARGV[4])
  r.te = ARGV[5]
  r.abs = math.min(r.abs, tonumber(ARGV[6]))
end
out[1] = pack(r)
for i = 1, #names do
  out[#out + 1] = names[i]
  out[#out + 1] = wanted[names[i]]
end
keep(KEYS[1], table.concat(out, SEP), int(ending(r)))
local reply = { 'a', int(before), int(r.v) }
for i = 1, #sums do reply[#reply + 1] = sums[i] end
return reply
`,
  firstKeys(1),
)

/**
 * KEYS old, new [index]; ARGV writeId, now, end, absolute end, index member, the packed session, expected version of the old or ''.
 * a before user: applied (user: of the old session); k the same: applied before; c version; g reason; i.
 */
export const REPLACE: RedisScript = script(
  `${SHARED}
local present = redis.call('GET', KEYS[2])
if present then
  local r = parse(present)
  if r and seen(r.w, ARGV[1]) then return { 'k', '0', '-' } end
  return { 'c', r and int(r.v) or '0' }
end
local packed = redis.call('GET', KEYS[1])
if not packed then return { 'g', 'unknown' } end
local why = reason(packed)
if why then return { 'g', why } end
local old = parse(packed)
if not old then return { 'i' } end
if ARGV[7] ~= '' and tonumber(ARGV[7]) ~= old.v then return { 'c', int(old.v) } end
mark(KEYS[1], 'g;replaced;' .. ARGV[2], math.max(tonumber(ARGV[2]) + ${MARK_MS}, ending(old)))
keep(KEYS[2], ARGV[6], ARGV[3])
if KEYS[3] then index(KEYS[3], ARGV[5], ARGV[2], ARGV[4]) end
return { 'a', int(old.v), old.u }
`,
  firstKeys(2),
)

/** KEYS session; ARGV mark, end of the mark, user to match or ''. The user of the session that was ended, or false. */
export const DESTROY: RedisScript = script(
  `${SHARED}
local packed = redis.call('GET', KEYS[1])
if not packed or reason(packed) then return false end
local r = parse(packed)
if ARGV[3] ~= '' and (not r or r.u ~= ARGV[3]) then return false end
mark(KEYS[1], ARGV[1], math.max(tonumber(ARGV[2]), r and ending(r) or 0))
return r and r.u or '-'
`,
  (reply, keys) => (reply === null ? NONE : keys),
)

/**
 * KEYS index; ARGV what begins the names of sessions, mark, end of the mark, user, index member to spare or ''. The members
 * whose sessions were live and of that user. Touches keys that are not named: not for a cluster.
 */
export const END_USER: RedisScript = script(
  `${SHARED}
local ended = {}
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if member ~= ARGV[5] then
    local name = ARGV[1] .. member
    local packed = redis.call('GET', name)
    local r = packed and parse(packed)
    if r and r.u == ARGV[4] then
      mark(name, ARGV[2], math.max(tonumber(ARGV[3]), ending(r)))
      ended[#ended + 1] = member
    end
    if r or not packed or reason(packed) then redis.call('ZREM', KEYS[1], member) end
  end
end
return ended
`,
  (reply, _keys, args) => (Array.isArray(reply) ? reply.map((member) => `${args[0]}${String(member)}`) : NONE),
)

// In a cluster a script reaches the keys of one slot only: these are the steps of REPLACE, and of CREATE with a user.

/** KEYS index; ARGV index member, now, absolute end. */
export const INDEX: RedisScript = script(`${SHARED}
index(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
return 1
`)

/** KEYS old; ARGV writeId, now, expected version or ''. Replies as REPLACE; the mark remembers the write, so that a retry succeeds. */
export const END_REPLACED: RedisScript = script(
  `${SHARED}
local packed = redis.call('GET', KEYS[1])
if not packed then return { 'g', 'unknown' } end
local why = reason(packed)
if why then
  if string.match(packed, '^g;%a+;%d+;(.+)$') == ARGV[1] then return { 'k', '0', '-' } end
  return { 'g', why }
end
local old = parse(packed)
if not old then return { 'i' } end
if ARGV[3] ~= '' and tonumber(ARGV[3]) ~= old.v then return { 'c', int(old.v) } end
mark(KEYS[1], 'g;replaced;' .. ARGV[2] .. ';' .. ARGV[1], math.max(tonumber(ARGV[2]) + ${MARK_MS}, ending(old)))
return { 'a', int(old.v), old.u }
`,
  firstKeys(1),
)

/** KEYS session; ARGV writeId. Takes back what CREATE made, unless somebody has used it. */
export const UNDO_CREATE: RedisScript = script(
  `${SHARED}
local packed = redis.call('GET', KEYS[1])
local r = packed and parse(packed)
if r and r.v == 1 and seen(r.w, ARGV[1]) then return redis.call('DEL', KEYS[1]) end
return 0
`,
  firstKeys(1),
)
