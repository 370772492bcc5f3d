import { createServer, type Server } from 'node:net'
import type { AddressInfo } from 'node:net'
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { waitFor, within } from '../setup/servers.ts'
import { isAlive, type RunningLab, runCli, startLab } from './lab-process.ts'

let lab: RunningLab | undefined
let blocker: Server | undefined
afterEach(async () => {
  await lab?.stop()
  lab = undefined
  blocker?.close()
  blocker = undefined
})

/** Servers and watchdog: whatever has the lab as its parent. */
function childrenOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, 'utf8')
        return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === pid
      } catch {
        return false
      }
    })
    .map(Number)
}

describe.runIf(process.platform === 'linux')('lab processes (found through /proc, which only Linux has)', () => {
  test('SIGKILL of the lab leaves no process behind, a paused server included', async () => {
    lab = await startLab('--strategy', 'isolated', '--nodes', '3')
    await lab.api('POST', '/api/nodes/n2/pause')
    const children = childrenOf(lab.pid)
    expect(children.length).toBe(4)
    await lab.kill()
    await waitFor(() => children.every((pid) => !isAlive(pid)), 5_000, 'all processes of the lab ending')
  })

  test.each(['SIGINT', 'SIGTERM'] as const)('%s ends every process, a paused one included, and exits 0', async (signal) => {
    lab = await startLab('--strategy', 'isolated', '--nodes', '2')
    await lab.api('POST', '/api/nodes/n1/pause')
    const children = childrenOf(lab.pid)
    process.kill(lab.pid, signal)
    expect(await within(lab.exited, 8_000, 'the lab ending')).toMatchObject({ code: 0 })
    expect(children.filter(isAlive)).toEqual([])
  })

  test.each([20, 300, 900])(
    'Ctrl-C %i ms into a change of strategy ends every process, those that were to come included',
    async (afterMs) => {
      lab = await startLab('--strategy', 'replication', '--nodes', '3')
      const { pid } = lab
      const seen = new Set(childrenOf(pid))
      lab.api('PUT', '/api/strategy', { strategy: 'affinity' }).catch(() => undefined)
      await sleep(afterMs)
      process.kill(pid, 'SIGINT')
      let isOver = false
      const exited = lab.exited.finally(() => (isOver = true))
      while (!isOver) {
        for (const child of childrenOf(pid)) seen.add(child)
        await sleep(5)
      }
      expect(await within(exited, 10_000, 'the lab ending')).toMatchObject({ code: 0 })
      expect(lab.output()).not.toMatch(/ {4}at |Error/)
      await waitFor(() => ![...seen].some(isAlive), 2_000, 'all processes of the lab ending')
    },
  )

  test('a lab interrupted while it starts ends everything too', async () => {
    const before = new Set(childrenOf(process.pid))
    const starting = startLab('--strategy', 'isolated', '--nodes', '4').catch((error: Error) => error)
    const [started] = childrenOf(process.pid).filter((one) => !before.has(one))
    const pid = started ?? 0
    await waitFor(() => childrenOf(pid).length > 1, 20_000, 'the lab starting servers')
    const children = childrenOf(pid)
    process.kill(pid, 'SIGTERM')
    expect(await starting).toBeInstanceOf(Error)
    await waitFor(() => !isAlive(pid) && children.every((one) => !isAlive(one)), 8_000, 'all processes of the lab ending')
  })
})

describe('lab command line', () => {
  test.each(['--port', '--control-port'])('a busy port is one line with what to do, and exit code 1 (%s)', async (flag) => {
    const server = createServer()
    blocker = server
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const other = flag === '--port' ? '--control-port' : '--port'
    const { code, output } = await runCli('lab', '--headless', other, '0', flag, String(port))
    expect(code).toBe(1)
    const lines = output.trim().split('\n')
    expect(lines.at(-1)).toBe(`holdfast: Port ${port} is in use by another program: choose another one with ${flag}.`)
  })

  test.each([
    [['--colour', 'red'], 'colour'],
    [['--strategy', 'telepathy'], 'strategy'],
    [['--policy', 'random'], 'policy'],
    [['--nodes', '0'], '--nodes'],
    [['--nodes', '1'], '--nodes must be a whole number from 2 to 16'],
    [['--nodes', 'many'], '--nodes'],
    [['--port', '70000'], '--port'],
    [['--store', 'mongodb://x'], 'store'],
    [['--transport', 'pigeon'], 'transport'],
    [['--nodes'], 'nodes'],
    [['extra'], 'extra'],
  ])('wrong usage is one line and exit code 2: %j', async (args, mentioned) => {
    const { code, output } = await runCli('lab', ...args)
    expect(code).toBe(2)
    expect(output.trim().split('\n')).toHaveLength(1)
    expect(output).toContain(mentioned)
  })

  test.each(['refuses', 'accepts and says nothing'])(
    'a store that %s is one line with what to do, and nothing is left running',
    async (how) => {
      const server = createServer(() => undefined)
      blocker = server
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      const { port } = server.address() as AddressInfo
      if (how === 'refuses') await new Promise<void>((resolve) => server.close(() => resolve()))
      const store = `redis://127.0.0.1:${port}`
      const { code, output } = await runCli(
        'lab',
        '--headless',
        '--port',
        '0',
        '--control-port',
        '0',
        '--strategy',
        'dedicated',
        '--store',
        store,
      )
      const lines = output.trim().split('\n')
      expect([code, lines.filter((line) => line.startsWith('holdfast:'))]).toEqual([1, [lines.at(-1)]])
      expect(lines.at(-1)).toMatch(new RegExp(`cannot reach Redis at ${store} .*(start it|check its load)`))
    },
  )

  test('an unknown command is exit code 2', async () => {
    expect(await runCli('laboratory')).toMatchObject({ code: 2, output: expect.stringContaining('laboratory') })
  })

  test('options that contradict each other fail with one line that says why', async () => {
    const { code, output } = await runCli('lab', '--headless', '--port', '0', '--control-port', '0', '--copies', '2', '--acks', '2')
    expect(code).toBe(2)
    expect(output.trim().split('\n').at(-1)).toContain('acks')
  })
})
