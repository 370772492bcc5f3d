import { execFile } from 'node:child_process'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const SRC = fileURLToPath(new URL('../../../src', import.meta.url))

test('mysql - the driver loads with ready() and not before; a missing one is named with its install command', async () => {
  // Outside the project, where no mysql2 can be found.
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-driver-'))
  try {
    for (const part of ['stores', 'core', 'errors.ts']) await cp(join(SRC, part), join(folder, part), { recursive: true })
    await writeFile(join(folder, 'package.json'), '{ "type": "module" }')
    await writeFile(
      join(folder, 'main.ts'),
      `import { mysqlStore } from './stores/mysql.ts'
       import { systemRuntime } from './core/runtime.ts'
       const store = mysqlStore({ url: 'mysql://127.0.0.1:1/d' })
       const context = { runtime: systemRuntime(), logger: console, deadlineMs: 500, stateChanged() {} }
       await store.ready(context).catch(({ code, message }) => console.log(code, message))`,
    )
    const { stdout } = await promisify(execFile)(process.execPath, [join(folder, 'main.ts')], { cwd: folder })
    expect(stdout.trim()).toBe('DEPENDENCY_MISSING mysqlStore needs the package mysql2, which is not installed: npm install mysql2')
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})
