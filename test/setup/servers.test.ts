import { readFileSync } from 'node:fs'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { freePorts } from './ports.ts'
import { spawnNode, startRedis, waitFor } from './servers.ts'

const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

async function script(code: string): Promise<string> {
  const path = join(await mkdtemp(join(tmpdir(), 'holdfast-script-')), 'script.mjs')
  await writeFile(path, code)
  return path
}

describe('waitFor', () => {
  test('returns what the condition returned, past its errors', async () => {
    let calls = 0
    const result = await waitFor(() => {
      calls += 1
      if (calls < 3) throw new Error('not yet')
      return 'there'
    })
    expect(result).toBe('there')
  })

  test('gives up with a message that says what did not happen', async () => {
    await expect(waitFor(() => false, 50, 'the tide turning')).rejects.toThrow('did not happen within 50 ms: the tide turning')
  })

  test('gives up on a condition that never settles', async () => {
    await expect(waitFor(() => new Promise(() => {}), 50, 'silence')).rejects.toThrow('silence')
  })
})

test('freePorts - gives different ports, below those that the kernel hands out', async () => {
  const ports = await freePorts(8)
  expect(new Set(ports).size).toBe(8)
  const [lowest] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split('\t')
  expect(Math.max(...ports)).toBeLessThan(Number(lowest))
})

describe('spawnNode', () => {
  test('is ready with the line that says so, hears and answers, and is gone after stop', async () => {
    const path = await script(`
      process.stdin.on('data', (data) => console.log('HEARD ' + data.toString().trim()))
      console.log('starting'); console.log('READY 42')`)
    const node = await spawnNode(path)
    expect(node.ready).toBe('READY 42')
    node.tell('hello')
    expect(await node.line('HEARD')).toBe('HEARD hello')
    await node.stop()
    expect(alive(node.pid)).toBe(false)
  })

  test('reports the output of a script that ends before it is ready', async () => {
    const path = await script(`console.error('no room'); process.exit(3)`)
    await expect(spawnNode(path)).rejects.toThrow('no room')
  })

  test('a script dies with the process that spawned it', async () => {
    const child = await script(`console.log('READY ' + process.pid); setInterval(() => {}, 1000)`)
    const helpers = new URL('./servers.ts', import.meta.url).href
    const parent = await script(`
      import { spawnNode } from ${JSON.stringify(helpers)}
      const node = await spawnNode(${JSON.stringify(child)})
      console.log(node.ready)`)
    const node = await spawnNode(parent)
    const pid = Number(node.ready.split(' ')[1])
    expect(alive(pid)).toBe(true)
    await node.kill()
    await waitFor(() => !alive(pid), 5_000, 'the grandchild ending')
  })
})

describe('startRedis', () => {
  test('answers on its port, pauses, resumes, restarts empty on the same port', async () => {
    const redis = await startRedis()
    expect(redis.url).toBe(`redis://127.0.0.1:${redis.port}`)
    redis.pause()
    redis.resume()
    await redis.kill()
    expect(alive(redis.pid)).toBe(false)
    const again = await redis.restart()
    expect(again.port).toBe(redis.port)
    await again.stop()
    expect(alive(again.pid)).toBe(false)
  })

  test('reports what the server said when it cannot start', async () => {
    await expect(startRedis({ args: ['--no-such-option', 'yes'] })).rejects.toThrow(/no-such-option/)
  })
})
