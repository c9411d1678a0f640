// Preloaded into every service that scripts/ starts. When the parent process ends for any reason, the service stops as
// after SIGTERM. Otherwise it would keep its ports and its data folder.
process.once('disconnect', () => {
  if (!process.emit('SIGTERM', 'SIGTERM')) process.exit(143);
});
process.channel?.unref();
