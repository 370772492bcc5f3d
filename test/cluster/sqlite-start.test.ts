import { mkdtemp, rm } from 'node:fs/promises'
import { DatabaseSync } from 'node:sqlite'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { spawnNode, within } from '../setup/servers.ts'

// Timers alone do not keep a process alive: without a hold, a top-level `await sessions.ready()` ends it with exit code 13.
test('dedicated, SQLite - a server that starts while another process has the file locked waits for it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-start-'))
  const file = join(folder, 'sessions.db')
  const holder = new DatabaseSync(file)
  holder.exec('CREATE TABLE t (n); BEGIN EXCLUSIVE')
  const script = await spawnNode(new URL('./wait-for-store.ts', import.meta.url), { args: [file], ready: /^WAITING/ })
  try {
    const ended = within(script.exited, 1_500, 'ending').then(
      ({ code }) => code,
      () => 'still waits',
    )
    expect(await ended).toBe('still waits')
    holder.exec('COMMIT')
    await script.line('READY', 30_000)
  } finally {
    holder.close()
    await script.kill()
    await rm(folder, { recursive: true })
  }
})
