// Preloaded into every service that scripts/ runs: when the process that started it is gone, however it ended,
// the service stops as if asked to. Otherwise it would keep its ports and its data folder.
process.once('disconnect', () => {
  if (!process.emit('SIGTERM', 'SIGTERM')) process.exit(143);
});
process.channel?.unref();
