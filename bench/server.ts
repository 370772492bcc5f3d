/** One server under load: `node bench/server.ts VARIANT OPTIONS-JSON`; prints `ready PORT`. */
import type { AddressInfo } from 'node:net'
import express from 'express'
import { createVariant, type Variant, type VariantOptions } from './variants.ts'

process.on('disconnect', () => process.exit(0))
const [name = '', options = '{}'] = process.argv.slice(2)
const variant = await createVariant(name, JSON.parse(options) as VariantOptions)
process.send?.({ port: await ('listen' in variant ? variant.listen() : listenWithExpress(variant)) })

async function listenWithExpress({ mount, ready }: Variant): Promise<number> {
  const app = express()
  app.disable('x-powered-by')
  app.set('etag', false)
  mount(app)
  await ready()
  return new Promise((resolve, reject) => {
    const listener = app.listen(0, '127.0.0.1', (error?: Error) =>
      error === undefined ? resolve((listener.address() as AddressInfo).port) : reject(error),
    )
  })
}
