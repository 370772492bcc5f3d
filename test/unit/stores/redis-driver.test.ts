import { execFile } from 'node:child_process'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const SRC = fileURLToPath(new URL('../../../src', import.meta.url))

test('redis - the driver loads with ready() and not before; a missing one is named with its install command', async () => {
  // Outside the project, where no @redis/client can be found.
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-driver-'))
  try {
    for (const part of ['stores', 'core', 'errors.ts']) await cp(join(SRC, part), join(folder, part), { recursive: true })
    await writeFile(join(folder, 'package.json'), '{ "type": "module" }')
    await writeFile(
      join(folder, 'main.ts'),
      `import { redisStore } from './stores/redis.ts'
       import { systemRuntime } from './core/runtime.ts'
       const store = redisStore({ url: 'redis://127.0.0.1:1' })
       const context = { runtime: systemRuntime(), logger: console, deadlineMs: 500, stateChanged() {} }
       await store.ready(context).catch(({ code, message }) => console.log(code, message))`,
    )
    const { stdout } = await promisify(execFile)(process.execPath, [join(folder, 'main.ts')], { cwd: folder })
    expect(stdout.trim()).toBe(
      'DEPENDENCY_MISSING redisStore needs the package @redis/client, which is not installed: npm install @redis/client',
    )
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})
