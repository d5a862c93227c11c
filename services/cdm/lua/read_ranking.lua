-- A page of a sorted set: highest score first, members of one score in ascending byte order.
-- KEYS: 1 sorted set · ARGV: 1 limit · 2 score of the last member seen, or '' · 3 that member
-- Returns how many members there are, then member, score, member, score...
-- Costs O(log members + limit) wherever the page lies.
local key, limit = KEYS[1], tonumber(ARGV[1])
local page, bound = {}, '+inf'

local function append(entries, from, to)
  for i = from, to do
    page[#page + 1] = entries[i]
  end
end

-- Byte order, as Redis sorts; Lua's own comparison follows the server's locale.
local function is_after(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then
      return x > y
    end
  end
  return #a > #b
end

-- The members of one score, from the one of this place in the group on.
local function read_group(first, place, count)
  local entries = redis.call('ZRANGE', key, first + place, first + place + count - 1, 'WITHSCORES')
  append(entries, 1, #entries)
end

if ARGV[2] ~= '' then
  local score, seen = ARGV[2], ARGV[3]
  local first = redis.call('ZCOUNT', key, '-inf', '(' .. score)
  local size = redis.call('ZCOUNT', key, score, score)
  -- The member itself may have left the group since: bisect for its place.
  local low, high = 0, size
  while low < high do
    local middle = math.floor((low + high) / 2)
    if is_after(redis.call('ZRANGE', key, first + middle, first + middle)[1], seen) then
      high = middle
    else
      low = middle + 1
    end
  end
  local count = math.min(size - low, limit)
  if count > 0 then
    read_group(first, low, count)
  end
  bound = '(' .. score
end

local rest = limit - #page / 2
local entries = {}
if rest > 0 then
  entries = redis.call('ZREVRANGEBYSCORE', key, bound, '-inf', 'WITHSCORES', 'LIMIT', 0, rest)
end
-- Groups come in descending order of members: each is turned round, the last, which may be cut, read again.
local from = 1
while from <= #entries do
  local score, to = entries[from + 1], from + 1
  while entries[to + 2] == score do
    to = to + 2
  end
  if to == #entries then
    read_group(redis.call('ZCOUNT', key, '-inf', '(' .. score), 0, (to - from + 1) / 2)
  else
    for i = to - 1, from, -2 do
      append(entries, i, i + 1)
    end
  end
  from = to + 1
end
return { redis.call('ZCARD', key), page }
