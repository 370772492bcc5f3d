import { expect, test } from 'vitest'
import { systemRuntime } from '../../../src/core/runtime.ts'
import { redisEchoes } from '../../../src/stores/redis-echoes.ts'
import type { RedisEchoes } from '../../../src/stores/redis-echoes.ts'

/** `times`: how often this server announces a script's own write. */
async function learnt(times: number, changed: string[]): Promise<RedisEchoes> {
  const echoes = redisEchoes(systemRuntime(), (name) => void changed.push(name))
  const sendCommand = async (args: string[]): Promise<unknown> => {
    if (args[0] === 'EVAL') for (let count = 0; count < times; count++) echoes.announced(args[3] as string)
    return 'OK'
  }
  echoes.learn({ sendCommand } as never, 'probe')
  await echoes.passed()
  changed.length = 0
  return echoes
}

test('echoes - an own write is not announced, also when its echo arrives before its reply was looked at', async () => {
  const changed: string[] = []
  const echoes = await learnt(1, changed)
  const wrote = echoes.expect()
  const reply = Promise.resolve()
    .then(() => {})
    .then(() => wrote?.(['k']))
  echoes.announced('k')
  await Promise.all([reply, echoes.passed()])
  expect(changed).toEqual([])
})

test('echoes - a foreign write is, before, between and after own ones', async () => {
  const changed: string[] = []
  const echoes = await learnt(1, changed)
  echoes.announced('k')
  await echoes.passed()
  expect(changed).toEqual(['k'])
  echoes.expect()?.(['k', 'other'])
  echoes.announced('k')
  echoes.announced('k')
  echoes.announced('other')
  await echoes.passed()
  expect(changed).toEqual(['k', 'k'])
})

test('echoes - of a server that announces own writes never, or twice, nothing is kept back', async () => {
  for (const times of [0, 2]) {
    const changed: string[] = []
    const echoes = await learnt(times, changed)
    expect(echoes.expect()).toBeUndefined()
    echoes.announced('k')
    await echoes.passed()
    expect(changed).toEqual(['k'])
  }
})
