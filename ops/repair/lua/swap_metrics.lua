-- Puts rebuilt metrics in the place of the old ones, with the position that they stand for.
-- KEYS: 1 offsets · 2 watermarks · 3 the set of the owners · 4 what the keys of their hashes begin with · 5 the same,
--       rebuilt · from 6 on each set, behind it the same rebuilt
-- ARGV: n, n × (partition, offset), then (watermark, last applied origin offset)...
-- Returns how many owners there are. Any instance that reads the topic is fenced by it.
local function each_owner(step)
  for first = 0, redis.call('ZCARD', KEYS[3]) - 1, 1000 do
    for _, owner in ipairs(redis.call('ZRANGE', KEYS[3], first, first + 999)) do
      step(owner)
    end
  end
end

local function move(from, to)
  if redis.call('EXISTS', from) == 1 then
    redis.call('RENAME', from, to)
  else
    redis.call('UNLINK', to)
  end
end

each_owner(function(owner)
  redis.call('UNLINK', KEYS[4] .. owner)
end)
redis.call('UNLINK', KEYS[1], KEYS[2])
for i = 6, #KEYS, 2 do
  move(KEYS[i + 1], KEYS[i])
end
each_owner(function(owner)
  move(KEYS[5] .. owner, KEYS[4] .. owner)
end)
local watermarks = 2 + 2 * tonumber(ARGV[1])
for i = 2, #ARGV, 2 do
  redis.call('HSET', i < watermarks and KEYS[1] or KEYS[2], ARGV[i], ARGV[i + 1])
end
return redis.call('ZCARD', KEYS[3])
