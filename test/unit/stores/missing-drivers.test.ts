import { expect, test } from 'vitest'
import { withoutDriver } from '../../setup/missing-driver.ts'

test.each([
  ['redis', 'redisStore', 'redis://127.0.0.1:1', '@redis/client'],
  ['postgres', 'postgresStore', 'postgres://127.0.0.1:1/x', 'pg'],
  ['mysql', 'mysqlStore', 'mysql://127.0.0.1:1/d', 'mysql2'],
])('%s - the driver loads with ready() and not before; a missing one is named with its install command', async (file, name, url, peer) => {
  const printed = await withoutDriver(
    'stores',
    `import { ${name} } from './stores/${file}.ts'
     import { systemRuntime } from './core/runtime.ts'
     const store = ${name}({ url: '${url}' })
     const context = { runtime: systemRuntime(), logger: console, deadlineMs: 500, stateChanged() {} }
     await store.ready(context).catch(({ code, message }) => console.log(code, message))`,
  )
  expect(printed).toBe(`DEPENDENCY_MISSING ${name} needs the package ${peer}, which is not installed: npm install ${peer}`)
})
