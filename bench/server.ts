/** One server under load: `node bench/server.ts VARIANT OPTIONS-JSON`; prints `ready PORT`. */
import type { AddressInfo } from 'node:net'
import express from 'express'
import { createVariant, type VariantOptions } from './variants.ts'

process.on('disconnect', () => process.exit(0))
const [name = '', options = '{}'] = process.argv.slice(2)
const app = express()
app.disable('x-powered-by')
app.set('etag', false)
const variant = await createVariant(name, JSON.parse(options) as VariantOptions)
variant.mount(app)
await variant.ready()
const listener = app.listen(0, '127.0.0.1', (error?: Error) => {
  if (error !== undefined) throw error
  process.send?.({ port: (listener.address() as AddressInfo).port })
})
