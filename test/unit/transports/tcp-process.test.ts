import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterEach, describe, expect, test } from 'vitest'
import { at, startServer, until } from './tcp-server.ts'
import { closeAll, SECRET } from './recorded.ts'

afterEach(closeAll)

const TCP = new URL('../../../src/transports/tcp.ts', import.meta.url).href
const RUNTIME = new URL('../../../src/core/runtime.ts', import.meta.url).href

interface Child {
  pid: number
  exit: Promise<number | null>
  output(): string
}

/** A script in a process of its own; `start(peers, node)` makes a running transport. */
function child(body: string): Child {
  const script = `
    import { tcpTransport } from ${JSON.stringify(TCP)}
    import { systemRuntime } from ${JSON.stringify(RUNTIME)}
    const loaded = () => process.moduleLoadList.some((line) => line === 'NativeModule tls')
    const start = async (peers, node) => {
      const transport = tcpTransport({ cluster: 'unit', secrets: ${JSON.stringify(SECRET)}, host: '127.0.0.1', port: 0, peers })
      const quiet = { frame() {}, up: (peer) => console.log('up', peer.node), down: (peer) => console.log('down', peer.node) }
      await transport.start({ self: { node, incarnation: node + process.pid }, runtime: systemRuntime(), logger: console, ...quiet })
      return transport
    }
    ${body}
  `
  const started = spawn(process.execPath, ['--input-type=module', '--disable-warning=ExperimentalWarning', '-e', script], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [started.stdout, started.stderr]) stream.on('data', (chunk) => (output += String(chunk)))
  const exit = once(started, 'exit').then(([code]) => code as number | null)
  return { pid: started.pid as number, exit, output: () => output }
}

describe('tcp mesh - processes', () => {
  test('node:tls is loaded by start, not by the import', { timeout: 30_000 }, async () => {
    const { exit, output } = child(`
      console.log('before', loaded())
      const transport = await start([], 'x')
      console.log('after', loaded())
      await transport.close()
    `)
    expect(await exit).toBe(0)
    expect(output()).toContain('before false')
    expect(output()).toContain('after true')
  })

  test('after close nothing keeps the process alive', { timeout: 30_000 }, async () => {
    const a = await startServer({ node: 'a' })
    const { exit, output } = child(`
      const transport = await start(['${at(a)}', '127.0.0.1:1'], 'x')
      await transport.close()
      console.log('closed')
    `)
    expect(await exit).toBe(0)
    expect(output()).toContain('closed')
  })

  test('a process killed with SIGKILL is down at once', { timeout: 30_000 }, async () => {
    const a = await startServer({ node: 'a' })
    const { pid, exit } = child(`await start(['${at(a)}'], 'x')`)
    await until('x is up', () => a.sees('x'))
    const before = performance.now()
    process.kill(pid, 'SIGKILL')
    await until('x is down', () => !a.sees('x'))
    expect(performance.now() - before).toBeLessThan(1000)
    await exit
  })

  test('a paused process is down after five seconds and back after it resumes', { timeout: 40_000 }, async () => {
    const a = await startServer({ node: 'a' })
    const { pid, exit, output } = child(`await start(['${at(a)}'], 'x')`)
    try {
      await until('x is up', () => a.sees('x'))
      process.kill(pid, 'SIGSTOP')
      const before = performance.now()
      await until('x is down', () => !a.sees('x'))
      expect(performance.now() - before).toBeGreaterThan(3500)
      process.kill(pid, 'SIGCONT')
      await until('x is back', () => a.sees('x') && output().trim().endsWith('up a'))
      expect(a.events).toEqual(['up x', 'down x', 'up x'])
    } finally {
      process.kill(pid, 'SIGKILL')
      await exit
    }
  })
})
